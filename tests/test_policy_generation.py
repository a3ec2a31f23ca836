"""Generation: equal to transformers' own, reproducible, honest about ends."""

from __future__ import annotations

import tiny
import torch
from transformers import GenerationConfig

from oorl.policy.generation import Sampling, generate
from oorl.policy.model import Policy, load_policy

PROMPTS = [(5, 6, 7, 8, 9), (10,), (11, 12, 13), (5, 6, 7, 8, 9, 10, 11)]


def sharp_model(seed: int = 0):
    """Random weights large enough that the argmax is not a tie of roundings."""
    model = tiny.tiny_model(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


def test_greedy_equals_plain_generate_one_prompt_at_a_time() -> None:
    policy = Policy(sharp_model())
    completions = generate(policy, PROMPTS, Sampling(70, 1, temperature=0.0), seed=0)  # beyond one growth of the cache
    for prompt, (completion,) in zip(PROMPTS, completions, strict=True):
        plain = policy.model.generate(
            inputs=torch.tensor([prompt]),
            generation_config=GenerationConfig(max_new_tokens=70, do_sample=False, eos_token_id=1, pad_token_id=1),
        )[0, len(prompt) :].tolist()
        assert list(completion) == plain


def test_batches_change_no_greedy_completion() -> None:
    policy = Policy(sharp_model())
    together = generate(policy, PROMPTS, Sampling(20, 1, temperature=0.0, group_size=2), seed=0)
    apart = generate(policy, PROMPTS, Sampling(20, 1, temperature=0.0, group_size=2, batch_sequences=2), seed=0)
    assert together == apart
    assert all(first == second for first, second in together)


def test_sampling_is_reproducible_from_its_seed_alone() -> None:
    policy = Policy(tiny.tiny_model())
    sampling = Sampling(12, 1, group_size=3)
    before = torch.get_rng_state()
    first = generate(policy, PROMPTS, sampling, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert generate(policy, PROMPTS, sampling, seed=7) == first
    assert generate(policy, PROMPTS, sampling, seed=8) != first
    assert len({completion for group in first for completion in group}) > len(PROMPTS)  # a group is not one sample


def test_completions_end_at_the_end_token() -> None:
    policy = Policy(tiny.tiny_model())
    completions = generate(policy, PROMPTS * 20, Sampling(200, 1, group_size=2), seed=0)
    flat = [completion for group in completions for completion in group]
    ended = [completion for completion in flat if 1 in completion]
    assert ended  # one in 258 at each of 200 tokens: about half of 160
    assert all(completion.index(1) == len(completion) - 1 for completion in ended)
    assert all(len(completion) == 200 for completion in flat if 1 not in completion)


def test_samples_follow_the_scored_distribution() -> None:
    """Counts of the first token against the policy's softmax at the same temperature: chi-square, 1e-6 quantile."""
    policy, temperature = Policy(sharp_model(seed=1)), 1.5
    prompt = (7, 8, 9)
    draws = 4000
    groups = generate(policy, [prompt], Sampling(1, 1, temperature=temperature, group_size=draws), seed=3)
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([prompt])).logits[0, -1].double()
    expected = (logits / temperature).softmax(-1) * draws
    counts = torch.bincount(torch.tensor([completion[0] for completion in groups[0]]), minlength=258)
    frequent = expected >= 5
    pooled = torch.cat([expected[frequent], expected[~frequent].sum()[None]])
    observed = torch.cat([counts[frequent], counts[~frequent].sum()[None]])
    statistic = float(((observed - pooled).square() / pooled.clamp(min=1e-9)).sum())
    freedom = len(pooled) - 1
    assert freedom > 3
    # Wilson-Hilferty: chi2 / k is nearly normal after a cube root
    z = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)) ** 0.5
    assert z < 4.75


def test_the_directorys_sampling_defaults_are_not_used_but_exported(tmp_path) -> None:
    model = tiny.tiny_model()
    model.generation_config = GenerationConfig(do_sample=True, top_k=1, temperature=0.5, eos_token_id=1, pad_token_id=0)
    model.save_pretrained(tmp_path)
    policy = load_policy(tmp_path)
    groups = generate(policy, [(3, 4)], Sampling(4, 1, group_size=8), seed=0)
    assert len(set(groups[0])) == 8  # top_k=1 would make them one
    assert policy.exported_generation_config.top_k == 1
