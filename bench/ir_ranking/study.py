"""The stages of the study: split and tokenizer; for each seed a base, and from it the arms; each leaves its scores."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from tqdm import tqdm
from transformers import AutoTokenizer

from bench.ir_ranking.measures import TOKEN, Scores, rankings
from bench.ir_ranking.settings import ARMS, MATCHED, Candidate, Settings
from bench.ir_ranking.split import split_groups
from oorl.config import Config, override
from oorl.data.ir_groups import IRGroup, read_ir_groups, write_ir_groups
from oorl.data.order import take
from oorl.policy.model import Policy, build_tiny_qwen3, load_policy, load_tokenizer
from oorl.policy.packing import Tree
from oorl.policy.preference import PreferenceGroup, member_trees, preference_group, score_members
from oorl.policy.prompts import IR_TAG, Prompter, fenced, ir_text
from oorl.policy.scoring import Budget
from oorl.quickstart.settings import FULL
from oorl.quickstart.stages import Stages
from oorl.quickstart.tokenizer import train_tokenizer
from oorl.quickstart.warmup import warm_up
from oorl.training.loop import train
from oorl.training.optimizer import apply_update, build_optimizer, learning_rate
from oorl.training.setup import derived_seed

BUDGET = Budget(row_tokens=300, batch_tokens=1024)  # attention is quadratic, and small batches stay in the cache
# Registers, one-letter names, numbers: an instruction is then a few tokens, and what is changed in it is another one.
ALONE = r"%\w+|\b[a-z]\b|(?<!\w)-?\d+"
TUNED_ON = 0  # the seed whose validation groups decide


@dataclass(frozen=True)
class Study:
    """One study on disk: parts, tokenizer, and a folder for each seed."""

    root: Path
    groups_path: Path
    settings: Settings

    def part(self, name: str) -> Path:
        return self.root / "data" / f"{name}.jsonl"

    def base(self, seed: int) -> Path:
        return self.root / f"seed-{seed}" / "base"


def run_study(study: Study, seeds: Sequence[int]) -> dict:
    """Run every stage that the study's folder does not hold finished.

    Returns ``data`` (sizes), ``chosen`` (arm -> candidate), ``trials`` (each candidate's validation share), and
    ``scores[seed][arm]``, with "base" among the arms: of every held-out group.
    """
    settings, path = study.settings, study.groups_path
    parts = split_groups(read_ir_groups(path), settings, str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    identity = json.loads(json.dumps({"groups": digest, "settings": asdict(settings)}))  # as it will be read back
    stages = Stages(study.root, identity)
    data = stages.run("data", "split and tokenizer", lambda: _data(study, parts))
    _base(study, stages, TUNED_ON)
    trials = {arm: _trials(study, stages, arm) for arm in ARMS}
    chosen = {arm: _best(settings.grid(arm), trials[arm]) for arm in ARMS}
    chosen[MATCHED] = replace(chosen["gepo"], variance_weight=1.0)  # DPO has no such term
    scores = {}
    for seed in seeds:
        _base(study, stages, seed)
        scores[seed] = {"base": _scores(study, stages, f"seed {seed}: base", study.base(seed), "heldout")}
        for arm, candidate in chosen.items():
            kind = "dpo" if arm == MATCHED else arm
            name = _arm(study, stages, seed, kind, candidate)
            scores[seed][arm] = _scores(study, stages, name, arm_dir(study, seed, kind, candidate) / "model", "heldout")
    return {"data": data | {"sha256": digest}, "chosen": chosen, "trials": trials, "scores": scores}


def arm_dir(study: Study, seed: int, arm: str, candidate: Candidate) -> Path:
    return study.root / f"seed-{seed}" / f"{arm}-{candidate.label}"


def arm_config(study: Study, seed: int, arm: str, candidate: Candidate) -> Config:
    """A run of the trainer on the training groups alone; the likelihood takes its optimizer and order from it."""
    settings, preference = study.settings, []
    if candidate.beta is not None:
        normalize = str(candidate.length_normalize).lower()
        preference = [f"gepo.loss={arm}", f"gepo.beta={candidate.beta}", f"gepo.length_normalize={normalize}"]
        preference.append(f"gepo.variance_weight={candidate.variance_weight}")
    return override(
        Config(),
        [
            f"model.path={study.base(seed)}",
            f"data.groups={study.part('train')}",
            "objective.w_rl=0",
            "objective.w_gepo=1",
            *preference,
            f"gepo.groups_per_update={settings.groups_per_update}",
            f"optimizer.lr={candidate.lr}",
            "optimizer.beta2=0.99",
            "optimizer.warmup_ratio=0.1",
            "optimizer.min_lr_ratio=0.1",
            f"training.out_dir={arm_dir(study, seed, arm, candidate)}",
            f"training.steps={settings.updates}",
            f"training.seed={seed}",
            f"training.row_tokens={BUDGET.row_tokens}",
            f"training.micro_batch_tokens={BUDGET.batch_tokens}",
            "training.keep_last=1",
        ],
    )


def _data(study: Study, parts) -> dict:
    for name, groups in parts._asdict().items():
        write_ir_groups(study.part(name), groups)
    tokenizer = train_tokenizer(_texts(parts.train), study.settings.vocab_size, ALONE)
    tokenizer.save_pretrained(study.root / "data" / "tokenizer")
    prompter = Prompter(tokenizer)
    lengths = [len(member) for group in parts.heldout for member in preference_group(group, prompter).members]
    pairs = sum(len(group.winners) * len(group.losers) for group in parts.heldout)
    sizes = {f"{name}_groups": len(groups) for name, groups in parts._asdict().items()}
    return sizes | {"heldout_pairs": pairs, "mean_tokens": round(fmean(lengths), 1), "vocabulary": len(tokenizer)}


def _texts(groups: Sequence[IRGroup]) -> Iterator[str]:
    for group in groups:
        yield ir_text(group, "plain")
        yield from (fenced(member["ir"], IR_TAG) for member in group.winners)


def _base(study: Study, stages: Stages, seed: int) -> dict:
    return stages.run(f"seed {seed}: base", f"seed {seed}: warm-up", lambda: _warm_up(study, seed))


def _warm_up(study: Study, seed: int) -> dict:
    """Train random weights on source -> winner pairs; the quickstart's warm-up without its translations."""
    settings = study.settings
    tokenizer = AutoTokenizer.from_pretrained(study.root / "data" / "tokenizer")
    model = build_tiny_qwen3(
        len(tokenizer),
        settings.hidden_size,
        settings.num_layers,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        seed=seed,
    )
    plan = replace(
        FULL,
        warmup_steps=settings.warmup_steps,
        warmup_batch=0,
        warmup_ir_batch=settings.warmup_batch,
        warmup_lr=settings.warmup_lr,
    )
    losses = warm_up(Policy(model), Prompter(tokenizer), (), read_ir_groups(study.part("train")), plan, seed)
    model.save_pretrained(study.base(seed))
    tokenizer.save_pretrained(study.base(seed))
    return {"parameters": sum(p.numel() for p in model.parameters()), "last_loss": round(fmean(losses[-20:]), 4)}


def _trials(study: Study, stages: Stages, arm: str) -> dict[str, float]:
    """Train every candidate of an arm, and say how well each ranks the validation groups by log-prob a token."""
    groups, shares = read_ir_groups(study.part("validation")), {}
    for candidate in study.settings.grid(arm):
        name = _arm(study, stages, TUNED_ON, arm, candidate)
        model = arm_dir(study, TUNED_ON, arm, candidate) / "model"
        shares[candidate.label] = token_share(groups, _scores(study, stages, name, model, "validation"))
    return shares


def token_share(groups: Sequence[IRGroup], scores: Sequence[Scores]) -> float:
    """Mean over groups of the share of pairs ranked right by log-prob a token."""
    return round(fmean(rankings(g, s.orders(s))[TOKEN] for g, s in zip(groups, scores, strict=True)), 4)


def _best(grid: Sequence[Candidate], shares: dict[str, float]) -> Candidate:
    return max(grid, key=lambda candidate: shares[candidate.label])


def _arm(study: Study, stages: Stages, seed: int, arm: str, candidate: Candidate) -> str:
    """Train an arm unless that is done, and return its stage; a trial is also the run of the seed that chooses."""
    name = f"seed {seed}: {arm} {candidate.label}"
    run = follow_winners if arm == "likelihood" else _prefer
    stages.run(name, name, lambda: run(arm_config(study, seed, arm, candidate)))
    return name


def _prefer(config: Config) -> dict:
    """Run the trainer; runs from one base that score alike share the base's scores of the training groups."""
    own = Path(config.training.out_dir) / "ref_scores.jsonl"
    shared = own.parents[1] / f"ref_scores-{'mean' if config.gepo.length_normalize else 'sum'}.jsonl"
    if shared.exists():
        own.parent.mkdir(exist_ok=True)
        shutil.copyfile(shared, own)
    result = train(config, resume=True)
    partial = shared.with_suffix(".incomplete")
    shutil.copyfile(own, partial)
    os.replace(partial, shared)
    return result.last


def follow_winners(config: Config) -> dict:
    """The control: likelihood of the winners, with the optimizer and the groups, in order, of the trainer's runs."""
    policy, prompter = load_policy(config.model.path), Prompter(load_tokenizer(config.model.path))
    groups = [preference_group(group, prompter) for group in read_ir_groups(config.data.groups)]
    optimizer, number = build_optimizer(policy, config.optimizer), config.gepo.groups_per_update
    order, loss = derived_seed(config.training.seed, "groups"), 0.0
    for step in tqdm(range(config.training.steps), desc="likelihood", unit="step", dynamic_ncols=True):
        picked = [groups[index] for index in take(len(groups), order, step * number, number)]
        loss = backward_likelihood(policy, picked)
        lr = learning_rate(step, config.training.steps, config.optimizer)
        apply_update(policy, optimizer, lr, config.optimizer.max_grad_norm)
    model = Path(config.training.out_dir) / "model"
    policy.model.save_pretrained(model)
    prompter.tokenizer.save_pretrained(model)
    return {"loss": loss}


def backward_likelihood(policy: Policy, groups: Sequence[PreferenceGroup]) -> float:
    """Add the gradient of the winners' mean negative log-prob a token, and return that."""
    trees = [Tree(g.prompt, g.members[: g.num_winners], tuple(range(g.num_winners))) for g in groups]
    num_tokens = sum(len(response) for tree in trees for response in tree.responses)
    total = 0.0
    for batch in BUDGET.pack(trees):
        logprobs, _ = policy.score(batch)
        loss = -logprobs.sum() / num_tokens
        loss.backward()
        total += loss.item()
    return total


def _scores(study: Study, stages: Stages, name: str, model: Path, part: str) -> list[Scores]:
    """Scores of one part's groups under a saved model, kept as a stage."""
    stored = stages.run(f"{name}, {part}", f"{name}: {part} groups", lambda: _score(study, model, part))
    return [Scores(tuple(row["sums"]), tuple(row["tokens"])) for row in stored["groups"]]


def _score(study: Study, model: Path, part: str) -> dict:
    policy, prompter = load_policy(model), Prompter(load_tokenizer(model))
    rows = []
    for record in tqdm(read_ir_groups(study.part(part)), desc="scoring", unit="group", dynamic_ncols=True):
        group = preference_group(record, prompter)
        sums = score_members(policy, BUDGET.pack(member_trees([group])), length_normalize=False)
        rows.append({"sums": [round(x, 4) for x in sums.tolist()], "tokens": [len(m) for m in group.members]})
    return {"groups": rows}
