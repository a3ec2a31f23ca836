"""One step's completions: sampled, handed to the reward pool, and given back with verdicts.

Dimensions: B completions on this rank, prompt-major in groups of G.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from oorl.config import RolloutConfig
from oorl.data.problems import Problem
from oorl.policy.generation import Sampling, generate
from oorl.policy.model import Policy
from oorl.policy.packing import Tree
from oorl.policy.prompts import Prompter
from oorl.reward import Job, Result, Verdict
from oorl.training.mesh import World
from oorl.training.metrics import StepMetrics


@dataclass(frozen=True)
class Task:
    """A problem with its prompt's token ids."""

    problem: Problem
    prompt: tuple[int, ...]


@dataclass(frozen=True)
class Rollout:
    """Completions of this rank's tasks: completion ``i`` answers task ``i // group_size``."""

    tasks: tuple[Task, ...]
    responses: tuple[tuple[int, ...], ...]
    group_size: int
    first_task: int  # place of tasks[0] in the step's global batch

    def trees(self, keep: Sequence[bool] | None = None) -> list[Tree]:
        """Prompts with their completions, all or those marked in ``keep``; a prompt left without any is dropped."""
        trees = []
        for number, task in enumerate(self.tasks):
            members = range(number * self.group_size, (number + 1) * self.group_size)
            indices = tuple(index for index in members if keep is None or keep[index])
            if indices:
                trees.append(Tree(task.prompt, tuple(self.responses[index] for index in indices), indices))
        return trees

    @property
    def group_ids(self) -> Tensor:
        """[B] int64: the task of every completion."""
        return torch.arange(len(self.responses)) // self.group_size

    @property
    def cu_seqlens(self) -> Tensor:
        """[B + 1] int32: where each completion starts among the rank's response tokens."""
        lengths = torch.tensor([0, *(len(response) for response in self.responses)])
        return lengths.cumsum(0).int()


def roll_out(
    policy: Policy, tasks: Sequence[Task], config: RolloutConfig, eos_token_id: int, *, first_task: int, seed: int
) -> Rollout:
    """Sample ``group_size`` completions of every task; ``seed`` should differ by step and rank."""
    sampling = Sampling(
        max_new_tokens=config.max_new_tokens,
        eos_token_id=eos_token_id,
        temperature=config.temperature,
        top_p=config.top_p,
        group_size=config.group_size,
        batch_sequences=config.batch_sequences,
    )
    groups = generate(policy, [task.prompt for task in tasks], sampling, seed)
    responses = tuple(response for group in groups for response in group)
    return Rollout(tuple(tasks), responses, config.group_size, first_task)


def jobs(rollout: Rollout, prompter: Prompter) -> list[Job]:
    """The pool's jobs, in the order of the completions."""
    return [
        Job(str(index), rollout.tasks[index // rollout.group_size].problem, prompter.decode(response))
        for index, response in enumerate(rollout.responses)
    ]


def rewards_of(results: Sequence[Result]) -> Tensor:
    """[B] fp32 rewards; NaN where there is none (the sample is masked, never counted as wrong)."""
    return torch.tensor(
        [float("nan") if result.reward is None else result.reward for result in results], dtype=torch.float32
    )


def permute_rewards(rewards: Tensor, world: World, seed: int) -> Tensor:
    """Shuffle the global batch's rewards over the samples that have one: the control in which they teach nothing."""
    per_rank = world.gather(rewards.tolist())
    flat = [value for values in per_rank for value in values]
    places = [index for index, value in enumerate(flat) if value == value]
    shuffled = [flat[index] for index in places]
    random.Random(seed).shuffle(shuffled)
    for index, value in zip(places, shuffled, strict=True):
        flat[index] = value
    start = sum(len(values) for values in per_rank[: world.rank])
    return torch.tensor(flat[start : start + len(rewards)], dtype=rewards.dtype)


def record_rollout(
    metrics: StepMetrics, rollout: Rollout, rewards: Tensor, max_new_tokens: int, eos_token_id: int
) -> None:
    """Lengths and rewards of a step's completions, overall and by language pair."""
    count = len(rollout.responses)
    lengths = [len(response) for response in rollout.responses]
    cut = sum(len(response) == max_new_tokens and response[-1] != eos_token_id for response in rollout.responses)
    metrics.mean("completions/mean_length", sum(lengths), count)
    metrics.mean("completions/clipped_ratio", cut, count)
    metrics.max("completions/max_length", max(lengths, default=0))
    metrics.sum("num_tokens", sum(lengths))
    valid = ~rewards.isnan()
    values = rewards[valid]
    metrics.mean("reward", values.sum(), len(values))
    metrics.sum("samples_without_reward", count - len(values))
    for index in valid.nonzero().flatten().tolist():
        problem = rollout.tasks[index // rollout.group_size].problem
        metrics.mean(f"rewards/{problem.source_lang}-{problem.target_lang}/mean", rewards[index])
    for group in rewards.view(-1, rollout.group_size):
        known = group[~group.isnan()]
        if len(known) > 1:
            metrics.mean("frac_reward_zero_std", bool((known == known[0]).all()))
            metrics.mean("reward_std", known.std())


def record_verdicts(metrics: StepMetrics, results: Sequence[Result]) -> None:
    """How many samples ended in each way."""
    for verdict in Verdict:
        metrics.sum(f"verdicts/{verdict}", sum(result.verdict is verdict for result in results))
