"""Everything a run needs before its first step: model, data, optimizer, reference scores, and where it stands."""

from __future__ import annotations

import hashlib
import math
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from oorl.config import Config, check
from oorl.data.ir_groups import stream_ir_groups
from oorl.data.jsonl import write_jsonl
from oorl.data.problems import Problem, read_problems
from oorl.errors import UsageError, UserError
from oorl.policy.length_budget import LengthBudget
from oorl.policy.model import Policy, load_policy, load_tokenizer, shard
from oorl.policy.preference import PreferenceGroup, preference_group
from oorl.policy.prompts import Prompter
from oorl.policy.scoring import Budget
from oorl.reward import PoolConfig, RewardPool
from oorl.reward.languages import missing_toolchain
from oorl.training.checkpoint import Progress, check_same_run, latest_checkpoint, load_checkpoint, resolved
from oorl.training.mesh import World
from oorl.training.optimizer import build_optimizer
from oorl.training.reference import ScoreJournal, reference_key, stored_scores, with_reference
from oorl.training.rollout import Task


@dataclass
class Run:
    """The state of a run on one rank; only ``progress`` and what the optimizer holds ever change."""

    config: Config
    world: World
    policy: Policy
    reference: Policy | None  # frozen, when objective.kl_coef > 0
    prompter: Prompter
    optimizer: torch.optim.Optimizer
    tasks: Sequence[Task]
    held_out: Sequence[Task]
    groups: Sequence[PreferenceGroup]
    total_steps: int
    progress: Progress

    @property
    def out_dir(self) -> Path:
        return Path(self.config.training.out_dir)

    @property
    def checkpoints(self) -> Path:
        return self.out_dir / "checkpoints"

    @property
    def eos_token_id(self) -> int:
        return self.prompter.tokenizer.eos_token_id

    @property
    def total_updates(self) -> int:
        return self.total_steps * self.config.updates_per_step


def set_up(config: Config, world: World, *, resume: bool) -> Run:
    """Read and check everything, load and shard the model, and restore the latest checkpoint when ``resume``."""
    check(config)
    if config.objective.w_rl and config.rollout.prompts_per_step < world.size:
        raise UsageError(
            f"rollout.prompts_per_step: {config.rollout.prompts_per_step} problems cannot be shared by {world.size} "
            "ranks; raise it or start fewer"
        )
    out_dir = Path(config.training.out_dir)
    _claim(out_dir, config, world, resume)
    tokenizer = load_tokenizer(config.model.path)
    prompter = Prompter(tokenizer, config.model.template)
    tasks = _tasks(config.data.problems, prompter, config, world) if config.objective.w_rl else []
    held_out = _tasks(config.data.held_out, prompter, config, world) if config.training.evaluate_every else []
    policy = _policy(config, world, config.model.gradient_checkpointing)
    check_vocabulary(policy, prompter, config.model.path)
    optimizer = build_optimizer(policy, config.optimizer)
    reference = None
    if config.objective.kl_coef and config.objective.w_rl:
        reference = _policy(config, world, False)
        reference.requires_grad_(False)
    # Scored before a checkpoint is restored: the reference is the model the run started from.
    groups = _groups(policy, prompter, config, world, out_dir) if config.objective.w_gepo else []
    found = world.from_main(latest_checkpoint(out_dir / "checkpoints")) if resume else None
    progress = load_checkpoint(found, policy, optimizer, world) if found else Progress()
    _check_lengths(policy, [*tasks, *held_out], groups, config)
    total = config.training.steps or _one_epoch(config, len(tasks), len(groups))
    return Run(config, world, policy, reference, prompter, optimizer, tasks, held_out, groups, total, progress)


@contextmanager
def open_pool(config: Config, world: World) -> Iterator[RewardPool | None]:
    """One pool a node: its first rank starts it, the others join; None when nothing needs unit tests."""
    if not (config.objective.w_rl or config.training.evaluate_every):
        yield None
        return
    here = socket.gethostname()
    pool = None
    try:
        if world.local_rank == 0:
            secrets = (config.data.problems, config.data.held_out)  # programs must not read the answers
            pool = RewardPool(
                PoolConfig(
                    slots=config.reward.slots,
                    batch_deadline_s=config.reward.batch_deadline_s,
                    check_references=config.reward.check_references,
                    hidden_paths=tuple(os.path.realpath(path) for path in secrets if path),
                )
            )
        places = world.gather((here, pool.socket_path if pool else None))
        if pool is None:
            pool = RewardPool.connect(next(path for host, path in places if host == here and path))
        yield pool
    finally:
        if pool is not None:
            pool.close()


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from a path of numbers and names: streams that share a seed stay independent."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big") >> 1


def _claim(out_dir: Path, config: Config, world: World, resume: bool) -> None:
    """Make the run directory this run's own, without harming another run's.

    A run that failed before its first step (a mistyped path, say) left nothing to harm: its directory is free.
    """
    fault: UserError | None = None
    if world.is_main:
        try:
            saved = out_dir / "config.toml"
            begun = (out_dir / "metrics.jsonl").exists() or (out_dir / "checkpoints").exists()
            if begun and resume:
                check_same_run(saved, config)
            elif begun:
                raise UserError(
                    f"{out_dir}: already holds a run; add --resume to continue it, or choose another --out directory"
                )
            else:
                out_dir.mkdir(parents=True, exist_ok=True)
                partial = saved.with_name("config.toml.incomplete")
                partial.write_text(resolved(config), encoding="utf-8")
                os.replace(partial, saved)
        except OSError as err:
            fault = UserError(f"cannot write to {out_dir}: {err.strerror}; choose another --out directory")
        except UserError as err:
            fault = err
    fault = world.from_main(fault)
    if fault:
        raise fault


def _tasks(path: str, prompter: Prompter, config: Config, world: World) -> list[Task]:
    problems = read_problems(path)
    _check_toolchains(problems, path)
    limit = config.data.max_prompt_tokens
    tasks = [Task(problem, prompter.translation(problem)) for problem in problems]
    kept = [task for task in tasks if len(task.prompt) <= limit]
    if not kept:
        raise UserError(f"{path}: every prompt is longer than data.max_prompt_tokens={limit}; raise it")
    if world.is_main and len(kept) < len(tasks):
        print(f"{path}: left out {len(tasks) - len(kept)} of {len(tasks)} prompts over data.max_prompt_tokens={limit}")
    return kept


def _check_toolchains(problems: Sequence[Problem], path: str) -> None:
    languages = {problem.target_lang for problem in problems}
    checkers = {problem.comparator["language"] for problem in problems if problem.comparator["kind"] == "checker"}
    for language in sorted(languages | checkers):
        try:
            missing = missing_toolchain(language)
        except KeyError as err:
            field = "target_lang" if language in languages else "comparator.language"
            raise UserError(f"{path}: {field} {language!r} is no language the reward pool can run") from err
        if missing:
            use = "to translate to" if language in languages else "with checkers in"
            raise UserError(f"{path}: has problems {use} {language}, but {missing}")


def _groups(policy: Policy, prompter: Prompter, config: Config, world: World, out_dir: Path) -> list[PreferenceGroup]:
    """The groups within the length budget, with their reference scores; counts go to the run directory."""
    path, length = config.data.groups, LengthBudget(config.gepo.max_tokens)
    normalize = config.gepo.length_normalize
    directory = Path(config.model.path)
    key = reference_key(directory, prompter, length_normalize=normalize, device=policy.device) if world.is_main else ""
    key = world.from_main(key)
    groups, stored = [], {}
    for record in tqdm(stream_ir_groups(path), desc="IR groups", unit="group", delay=1, disable=not world.is_main):
        group = length.keep(preference_group(record, prompter))
        if group is not None:
            groups.append(group)
            stored |= stored_scores(record, key)
    if not groups:
        raise UserError(f"{path}: {length.nothing_left()}; raise gepo.max_tokens")
    if world.is_main:
        if length.dropped_anything:
            print(f"{path}: {length}")
        write_jsonl(out_dir / "groups.json", [{"file": path, **length.to_json()}])
    budget = Budget(config.training.row_tokens, config.training.micro_batch_tokens)
    with ScoreJournal(out_dir / "ref_scores.jsonl" if world.is_main else None, key, world) as journal:
        return with_reference(policy, groups, stored, journal, budget, world, length_normalize=normalize)


def check_vocabulary(policy: Policy, prompter: Prompter, directory: str) -> None:
    """UserError when the tokenizer has tokens that the model does not know."""
    known, needed = policy.model.get_input_embeddings().num_embeddings, len(prompter.tokenizer)
    if needed > known:
        raise UserError(
            f"{directory}: the tokenizer has {needed} tokens, but the model knows only {known}; "
            "resize its embeddings or use the tokenizer it was trained with"
        )


def _check_lengths(policy: Policy, tasks: Sequence[Task], groups: Sequence[PreferenceGroup], config: Config) -> None:
    limit = position_limit(policy)
    longest = max((len(task.prompt) + config.rollout.max_new_tokens for task in tasks), default=0)
    if longest > limit:
        raise UserError(
            f"{config.model.path}: prompt and completion may take {longest} tokens, but the model has {limit} "
            "positions; lower rollout.max_new_tokens or data.max_prompt_tokens"
        )
    longest = max((group.longest for group in groups), default=0)
    if longest > limit:
        raise UserError(
            f"{config.model.path}: the longest IR group member takes {longest} tokens, but the model has {limit} "
            "positions; lower gepo.max_tokens"
        )


def position_limit(policy: Policy) -> float:
    """Most tokens of a sequence. Learned positions end somewhere; rotary ones only promise less beyond."""
    return getattr(policy.model.config.get_text_config(), "max_position_embeddings", None) or math.inf


def _policy(config: Config, world: World, gradient_checkpointing: bool) -> Policy:
    policy = load_policy(
        config.model.path,
        gradient_checkpointing=gradient_checkpointing,
        head_backward=config.model.head_backward,
        sparse_tau=config.model.sparse_tau,
        head_workspace_mb=config.model.head_workspace_mb or None,
    )
    return shard(policy, world.mesh) if world.mesh is not None else policy


def _one_epoch(config: Config, tasks: int, groups: int) -> int:
    if config.objective.w_rl:
        return math.ceil(tasks / config.rollout.prompts_per_step)
    return math.ceil(groups / config.gepo.groups_per_update)
