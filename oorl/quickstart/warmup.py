"""Supervised warm-up: next-token loss on answers; a model must write code before it can be rewarded for it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from tqdm import tqdm

from oorl.data.ir_groups import IRGroup
from oorl.policy.model import Policy
from oorl.policy.packing import Tree
from oorl.policy.prompts import IR_TAG, Prompter
from oorl.policy.scoring import Budget
from oorl.quickstart.corpus import WarmupExample
from oorl.quickstart.settings import QuickstartSettings
from oorl.reward.languages import fence_tag

WARMUP_BUDGET = Budget(row_tokens=256, batch_tokens=2048)  # short rows: attention is quadratic; small batches: caches
RAMP_STEPS = 30
FLOOR = 0.05  # of the peak learning rate, reached at the last step


def warm_up(
    policy: Policy,
    prompter: Prompter,
    examples: Sequence[WarmupExample],
    groups: Sequence[IRGroup],
    settings: QuickstartSettings,
    seed: int,
) -> list[float]:
    """Train in place on translation pairs, in order, and on random C -> IR pairs; returns every step's loss."""
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=settings.warmup_lr, betas=(0.9, 0.95), weight_decay=0.0)
    losses = []
    for step in tqdm(range(settings.warmup_steps), desc="warm-up", unit="step", dynamic_ncols=True):
        optimizer.param_groups[0]["lr"] = settings.warmup_lr * _schedule(step, settings.warmup_steps)
        batch = examples[step * settings.warmup_batch : (step + 1) * settings.warmup_batch]
        trees = [_translation_tree(prompter, example) for example in batch]
        trees += [_ir_tree(prompter, rng.choice(groups), rng) for _ in range(settings.warmup_ir_batch)]
        losses.append(_step(policy, optimizer, trees))
    return losses


def _step(policy: Policy, optimizer: torch.optim.Optimizer, trees: Sequence[Tree]) -> float:
    num_tokens = sum(len(tree.responses[0]) for tree in trees)
    total = 0.0
    optimizer.zero_grad()
    for batch in WARMUP_BUDGET.pack(trees):
        logprobs, _ = policy.score(batch)
        loss = -logprobs.sum() / num_tokens
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()
    return total


def _schedule(step: int, num_steps: int) -> float:
    ramp = min(1.0, (step + 1) / RAMP_STEPS)
    return ramp * max(FLOOR, 0.5 * (1.0 + math.cos(math.pi * step / num_steps)))


def _translation_tree(prompter: Prompter, example: WarmupExample) -> Tree:
    response = prompter.response(example.target_code, fence_tag(example.problem.target_lang))
    return Tree(prompter.translation(example.problem), (response,), (0,))


def _ir_tree(prompter: Prompter, group: IRGroup, rng: random.Random) -> Tree:
    return Tree(prompter.ir(group), (prompter.response(rng.choice(group.winners)["ir"], IR_TAG),), (0,))
