"""The policy against its own logits, for the architectures people bring, and its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from oorl.errors import UserError
from oorl.policy.generation import Sampling, generate
from oorl.policy.model import Policy, build_tiny_qwen3, load_policy, load_tokenizer, verify_head
from oorl.policy.packing import Tree, pack
from oorl.policy.scoring import score_responses

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
CONFIGS = {
    "llama": LlamaConfig(**SMALL),
    "llama-tied": LlamaConfig(**SMALL, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SMALL),
    "qwen3": Qwen3Config(**SMALL, head_dim=8),
    "cohere": CohereConfig(**SMALL, logit_scale=0.25),
    "granite": GraniteConfig(**SMALL, logits_scaling=4.0),
    "gemma2": Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=2.0, attn_logit_softcapping=5.0),
    "gpt2": GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=1),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_architectures_load_and_score_as_their_logits_say(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name], dtype=torch.float32)
    for parameter in model.parameters():  # a head near zero would hide a wrong scale
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path)
    policy = load_policy(tmp_path)  # runs verify_head
    assert all(parameter.dtype is torch.float32 for parameter in policy.parameters())
    trees = tiny.random_trees(vocab=97)
    temperature = 0.7
    scored, entropies = score_responses(
        policy, pack(trees, row_tokens=48, batch_tokens=96), temperature=temperature, with_entropy=True
    )
    with torch.no_grad():
        for tree in trees:
            for index, response in zip(tree.indices, tree.responses, strict=True):
                logits = policy.model(input_ids=torch.tensor([tree.prompt + response]), use_cache=False).logits
                expected = (logits[0, len(tree.prompt) - 1 : -1].double() / temperature).log_softmax(-1)
                wanted = expected.gather(-1, torch.tensor(response)[:, None])[:, 0]
                # fp32 through two layers and logits of order 10: 1e-4 is about a hundred units in the last place
                torch.testing.assert_close(scored[index].double(), wanted, rtol=0, atol=1e-4)
                entropy = -(expected.exp() * expected).sum(-1)
                torch.testing.assert_close(entropies[index].double(), entropy, rtol=0, atol=1e-4)


def test_a_head_with_an_unknown_scale_is_refused() -> None:
    model = tiny.tiny_model(tied=False)
    torch.nn.init.normal_(model.lm_head.weight, std=1.0)
    head = model.lm_head.forward
    model.lm_head.forward = lambda hidden: 3.0 * head(hidden)  # a scale no attribute announces
    with pytest.raises(UserError, match="not known here"):
        verify_head(Policy(model))


def test_a_head_that_is_not_linear_is_refused() -> None:
    model = tiny.tiny_model()
    model.lm_head = torch.nn.Sequential(torch.nn.Linear(32, 258))
    with pytest.raises(UserError, match="Sequential, not torch.nn.Linear"):
        Policy(model)


def test_a_sequence_beyond_the_attention_window_is_refused() -> None:
    config = MistralConfig(**SMALL, sliding_window=8, head_dim=8)
    policy = Policy(AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa"))
    (fits,) = pack([Tree((1, 2, 3), ((4, 5, 6, 7, 8, 9),), (0,))], row_tokens=32, batch_tokens=32)
    assert policy.score(fits)[0].isfinite().all()
    (long,) = pack([Tree((1,) * 6, ((4, 5, 6, 7),), (0,))], row_tokens=32, batch_tokens=32)
    with pytest.raises(UserError, match="window of 8"):
        policy.score(long)


@pytest.mark.parametrize("prepare", ["nothing", "empty", "not_json", "other_json", "no_weights", "cut_weights"])
def test_a_directory_that_is_no_model_is_one_sentence(prepare: str, tmp_path: Path) -> None:
    directory = tmp_path / "model"
    if prepare != "nothing":
        directory.mkdir()
    if prepare == "not_json":
        (directory / "config.json").write_text("{")
    if prepare == "other_json":
        (directory / "config.json").write_text(json.dumps({"hello": 1}))
    if prepare in ("no_weights", "cut_weights"):
        tiny.save_tiny_model(directory)
        weights = directory / "model.safetensors"
        weights.unlink() if prepare == "no_weights" else weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError) as caught:
        load_policy(directory)
    assert str(directory) in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_one_sentence(tmp_path: Path) -> None:
    model = tiny.tiny_model()
    with torch.no_grad():
        model.model.norm.weight[3] = float("nan")
    model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="Qwen3ForCausalLM"):
        load_policy(tmp_path)


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    tiny.save_tiny_model(tmp_path)
    tokenizer = tiny.byte_tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="end-of-sequence"):
        load_tokenizer(tmp_path)


def test_tiny_qwen3_is_reproducible_and_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    first, second = build_tiny_qwen3(300, 32, 2, seed=3), build_tiny_qwen3(300, 32, 2, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert sum(p.numel() for p in build_tiny_qwen3(1000).parameters()) < 1_000_000
    with pytest.raises(ValueError, match="must divide"):
        build_tiny_qwen3(300, 30, 2)


def test_gradient_checkpointing_changes_nothing(tmp_path: Path) -> None:
    tiny.save_tiny_model(tmp_path)
    (batch,) = pack(tiny.random_trees(2), row_tokens=512, batch_tokens=512)
    gradients, completions = [], []
    for checkpointing in (False, True):
        policy = load_policy(tmp_path, gradient_checkpointing=checkpointing)
        policy.score(batch)[0].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters()]))
        completions.append(generate(policy, [(5, 6, 7), (8,)], Sampling(9, 1, group_size=2), seed=0))
        assert policy.training == checkpointing
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-6)
    assert completions[0] == completions[1]


def test_dropout_is_off_whatever_the_directory_says(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=97, n_embd=32, n_layer=1, n_head=4, n_positions=64))
    assert model.config.resid_pdrop > 0
    model.save_pretrained(tmp_path)
    policy = load_policy(tmp_path).train()
    (batch,) = pack(tiny.random_trees(2, vocab=97), row_tokens=64, batch_tokens=512)
    assert torch.equal(policy.score(batch)[0], policy.score(batch)[0])
