"""The stages of the quickstart, top to bottom: data, warm-up, evaluation, OORL, evaluation, report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from oorl.config import Config, load_config
from oorl.data.ir_groups import IRGroup, read_ir_groups, write_ir_groups
from oorl.data.jsonl import read_jsonl
from oorl.data.problems import read_problems, write_problems
from oorl.evaluation.evaluate import count_verdicts, evaluate
from oorl.evaluation.ranking import score_groups
from oorl.policy.generation import Sampling
from oorl.policy.length_budget import LengthBudget
from oorl.policy.model import Policy, build_tiny_qwen3, load_policy, load_tokenizer
from oorl.policy.prompts import IR_TAG, Prompter, fenced, ir_text, translation_text
from oorl.policy.scoring import Budget
from oorl.quickstart.corpus import WarmupExample, build_corpus, read_warmup, write_warmup
from oorl.quickstart.figure import draw_report
from oorl.quickstart.groups import build_split_groups
from oorl.quickstart.report import make_report
from oorl.quickstart.settings import QuickstartSettings
from oorl.quickstart.stages import Stages
from oorl.quickstart.tokenizer import train_tokenizer
from oorl.quickstart.warmup import warm_up
from oorl.reward import PoolConfig, RewardPool
from oorl.reward.languages import fence_tag
from oorl.training.loop import train

TOKENIZER_TEXTS = 4000
SCORING = Budget(row_tokens=1024, batch_tokens=8192)
# What each arm changes in the recipe: the method, its two halves alone, and a control whose rewards say nothing.
ARMS = {
    "oorl": (),
    "rl": ("objective.w_gepo=0",),
    "gepo": ("objective.w_rl=0",),
    "permuted": ("training.permute_rewards=true",),
}


def run_quickstart(
    root: Path,
    settings: QuickstartSettings,
    seed: int,
    arm: str = "oorl",
    overrides: tuple[str, ...] = (),
    base: Path | None = None,
) -> dict:
    """Run every stage that ``root`` does not hold finished, and return the report.

    Args:
        root: directory of the run; the same one again goes on where it stopped.
        settings: sizes and warm-up; the OORL stage is the recipe ``quickstart.toml``.
        seed: of everything random.
        arm: one of ARMS.
        overrides: ``section.field=value`` for the recipe.
        base: a run of equal seed and settings whose data, warm-up and first evaluation are taken over.
    """
    # One core is left to the reward pool and to whatever else runs: torch with a thread for every core stalls on the
    # slowest of them, ten times over on a busy machine.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    stages = Stages(root, {"seed": seed, "arm": arm, "overrides": list(overrides), "settings": asdict(settings)})
    if base is not None:
        stages.adopt(base, ("data", "warmup", "before"), ("seed", "settings"), ("data", "warmup"))
    data = stages.run(
        "data", "programs, problems with unit tests, verified LLVM IR", lambda: _data(root, settings, seed)
    )
    warm = stages.run("warmup", "warm-up: supervised, on a corpus with wrong transliterations",
                      lambda: _warm_up(root, settings, seed))  # fmt: skip
    config = training_config(root, settings, seed, arm, overrides)
    longest = config.gepo.max_tokens
    before = stages.run(
        "before", "pass@1 and IR ranking before OORL", lambda: _evaluate(root, "warmup", settings, seed, longest)
    )
    stages.run("training", f"{arm}: {config.training.steps} steps", lambda: _train(root, config))
    after = stages.run(
        "after", "pass@1 and IR ranking after OORL", lambda: _evaluate(root, "model", settings, seed, longest)
    )
    metrics = [row for _, row in read_jsonl(root / "metrics.jsonl")]
    report = make_report(seed, arm, settings, config, data, warm, before, after, metrics, stages.wall_s, root)
    (root / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    draw_report(report, metrics, root / "report.png")
    return report


def training_config(
    root: Path, settings: QuickstartSettings, seed: int, arm: str, overrides: tuple[str, ...]
) -> Config:
    """The recipe with this run's paths, sizes and arm."""
    paths = {
        "model.path": root / "warmup",
        "data.problems": root / "data" / "train.jsonl",
        "data.groups": root / "data" / "train_groups.jsonl",
        "training.out_dir": root / "run",
    }
    return load_config(
        "quickstart",
        [
            *(f"{name}={path}" for name, path in paths.items()),
            f"rollout.max_new_tokens={settings.max_new_tokens}",
            f"training.steps={settings.train_steps}",
            f"training.seed={seed}",
            *ARMS[arm],
            *overrides,
        ],
    )


def _data(root: Path, settings: QuickstartSettings, seed: int) -> dict:
    corpus = build_corpus(settings, seed)
    write_problems(root / "data" / "train.jsonl", corpus.train_problems)
    write_problems(root / "data" / "heldout.jsonl", corpus.heldout_problems)
    write_warmup(root / "data" / "warmup.jsonl", corpus.warmup)
    train, heldout = build_split_groups(settings, seed)
    write_ir_groups(root / "data" / "train_groups.jsonl", train)
    write_ir_groups(root / "data" / "heldout_groups.jsonl", heldout)
    return {**corpus.statistics, "train_groups": len(train), "heldout_groups": len(heldout)}


def _warm_up(root: Path, settings: QuickstartSettings, seed: int) -> dict:
    examples = read_warmup(root / "data" / "warmup.jsonl")
    groups = read_ir_groups(root / "data" / "train_groups.jsonl")
    tokenizer = train_tokenizer(_tokenizer_texts(examples, groups), settings.vocab_size)
    model = build_tiny_qwen3(
        len(tokenizer),
        settings.hidden_size,
        settings.num_layers,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        seed=seed,
    )
    policy, prompter = Policy(model), Prompter(tokenizer)
    losses = warm_up(policy, prompter, examples, groups, settings, seed)
    policy.model.save_pretrained(root / "warmup")
    tokenizer.save_pretrained(root / "warmup")
    return {"parameters": sum(p.numel() for p in model.parameters()), "losses": [round(loss, 4) for loss in losses]}


def _tokenizer_texts(examples: Sequence[WarmupExample], groups: Sequence[IRGroup]) -> Iterator[str]:
    for example in examples[:TOKENIZER_TEXTS]:
        yield translation_text(example.problem, "plain")
        yield fenced(example.target_code, fence_tag(example.problem.target_lang))
    for group in groups:
        yield ir_text(group, "plain")
        yield from (fenced(member["ir"], IR_TAG) for member in group.winners)


def _evaluate(root: Path, model: str, settings: QuickstartSettings, seed: int, max_tokens: int) -> dict:
    policy, tokenizer = load_policy(root / model), load_tokenizer(root / model)
    prompter, problems = Prompter(tokenizer), read_problems(root / "data" / "heldout.jsonl")
    sampled = Sampling(settings.max_new_tokens, tokenizer.eos_token_id, group_size=settings.eval_samples)
    greedy = Sampling(settings.max_new_tokens, tokenizer.eos_token_id, temperature=0.0)
    with RewardPool(PoolConfig(hidden_paths=(str((root / "data").resolve()),))) as pool:
        outcomes = {
            "sampled": evaluate(policy, prompter, problems, pool, sampled, seed=seed, label="sampled, T = 1"),
            "greedy": evaluate(policy, prompter, problems, pool, greedy, seed=seed, label="greedy"),
        }
    length = LengthBudget(max_tokens)
    scores = score_groups(policy, prompter, read_ir_groups(root / "data" / "heldout_groups.jsonl"), SCORING, length)
    if length.dropped_anything:
        print(f"held-out IR groups: {length}")
    return {
        "pairs": [outcome.pair for outcome in outcomes["greedy"]],
        **{name: [outcome.pass_at(1) for outcome in found] for name, found in outcomes.items()},
        "verdicts": count_verdicts(outcomes["sampled"]),
        "ir_scores": [asdict(score) for score in scores],
    }


def _train(root: Path, config: Config) -> dict:
    train(config, resume=True)  # from the start when nothing has begun
    shutil.copyfile(root / "run" / "metrics.jsonl", root / "metrics.jsonl")
    shutil.copytree(root / "run" / "model", root / "model", dirs_exist_ok=True)
    return {}
