"""Rollouts by plain ``generate``: every prompt is read once, its cache is repeated for its completions.

Token ids are kept as sampled and never re-tokenized. Dimensions: B prompts of a batch, G completions of each, P
longest prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer

from oorl.policy.model import Policy

CACHE_STEP = 64  # tokens by which a full cache buffer grows
COMPACT_EVERY = 16  # tokens between moments at which finished completions leave the batch


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn; ``temperature`` 0 means greedy."""

    max_new_tokens: int
    eos_token_id: int
    temperature: float = 1.0
    top_p: float = 1.0
    group_size: int = 1
    batch_sequences: int = 256

    def generation_config(self, max_new_tokens: int) -> GenerationConfig:
        """Every option that could bend the distribution is set: unset ones would come from the model's directory."""
        sampled = {"temperature": self.temperature, "top_p": self.top_p, "top_k": 0} if self.temperature else {}
        return GenerationConfig(
            do_sample=bool(self.temperature),
            max_new_tokens=max_new_tokens,
            eos_token_id=self.eos_token_id,
            pad_token_id=self.eos_token_id,  # finished rows are filled with it and cut at the first
            repetition_penalty=1.0,
            use_cache=True,
            **sampled,
        )


class GrowingLayer(DynamicLayer):
    """A cache layer that writes into a buffer with room to spare; concatenating at every token is quadratic copying."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[Tensor, ...] = ()

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        old, new = self.get_seq_length(), key_states.shape[-2]
        own = (
            self._buffers and self.keys.data_ptr() == self._buffers[0].data_ptr()
        )  # not after a batch_repeat_interleave
        if not own or self._buffers[0].shape[-2] < old + new:
            size = (*key_states.shape[:2], old + new + CACHE_STEP, key_states.shape[-1])
            value_size = (*size[:3], value_states.shape[-1])
            self._buffers = (key_states.new_empty(size), value_states.new_empty(value_size))
            if old:
                self._buffers[0][:, :, :old] = self.keys
                self._buffers[1][:, :, :old] = self.values
        self._buffers[0][:, :, old : old + new] = key_states
        self._buffers[1][:, :, old : old + new] = value_states
        self.keys, self.values = (buffer[:, :, : old + new] for buffer in self._buffers)
        return self.keys, self.values


def generate(
    policy: Policy, prompts: Sequence[Sequence[int]], sampling: Sampling, seed: int
) -> list[list[tuple[int, ...]]]:
    """Draw ``group_size`` completions of every prompt; returns token ids per prompt, each ended by EOS or cut at the
    limit.

    Reproducible from ``seed`` on one device; the caller's random state is left alone. Greedy decoding ignores the seed.
    """
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))  # alike lengths together: little padding
    per_batch = max(1, sampling.batch_sequences // sampling.group_size)
    completions: list[list[tuple[int, ...]]] = [[] for _ in prompts]
    with policy.gathered(), _seeded(policy.device, seed):
        for start in range(0, len(order), per_batch):
            chosen = order[start : start + per_batch]
            for row, ids in enumerate(_generate_batch(policy, [prompts[index] for index in chosen], sampling)):
                end = ids.index(sampling.eos_token_id) + 1 if sampling.eos_token_id in ids else len(ids)
                completions[chosen[row // sampling.group_size]].append(tuple(ids[:end]))
    return completions


@torch.no_grad()
def _generate_batch(policy: Policy, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]:
    """The completions of a batch, prompt-major; what stands after an end token is not meant."""
    width = max(len(prompt) for prompt in prompts)
    input_ids = torch.full((len(prompts), width), sampling.eos_token_id)
    attention_mask = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):  # padded on the left: all completions start in the same column
        input_ids[row, width - len(prompt) :] = torch.tensor(prompt)
        attention_mask[row, width - len(prompt) :] = 1
    input_ids, attention_mask = input_ids.to(policy.device), attention_mask.to(policy.device)
    cache = _growing_cache(policy)
    if width > 1:  # all but the last token, once a prompt; generate feeds the last one to every completion
        policy.prefill(input_ids[:, :-1], attention_mask[:, :-1], cache)
        cache.batch_repeat_interleave(sampling.group_size)
    tokens = input_ids.repeat_interleave(sampling.group_size, 0)
    attention_mask = attention_mask.repeat_interleave(sampling.group_size, 0)
    completions: list[list[int]] = [[] for _ in tokens]
    alive = list(range(len(completions)))
    left = sampling.max_new_tokens
    while alive and left:
        longer = policy.generate(
            inputs=tokens,
            attention_mask=attention_mask,
            past_key_values=cache,
            generation_config=sampling.generation_config(min(left, COMPACT_EVERY)),
        )
        drawn = longer[:, tokens.shape[1] :]
        for row, ids in zip(alive, drawn.tolist(), strict=True):
            completions[row] += ids
        unfinished = (drawn != sampling.eos_token_id).all(1).nonzero().flatten()
        if len(unfinished) < len(alive):  # the finished leave: what they would still cost is most of the work
            cache.batch_select_indices(unfinished)
        tokens, alive = longer[unfinished], [alive[row] for row in unfinished.tolist()]
        attention_mask = torch.nn.functional.pad(attention_mask[unfinished], (0, drawn.shape[1]), value=1)
        left -= drawn.shape[1]
    return completions


def _growing_cache(policy: Policy) -> Cache:
    cache = DynamicCache(config=policy.model.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    # transformers' generate takes no generator of its own.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
