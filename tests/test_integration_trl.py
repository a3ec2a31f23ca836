"""TRL's real trainers with and without our log-probs; and, in float64, every kind of head against its own logits."""

from __future__ import annotations

from pathlib import Path

import fused_head_worker
import pytest
import tiny
import torch
from oorl_kernels import LinearTokenLogprobs
from oorl_kernels.integrations.trl import FusedLogprobsMixin, install_fused_head
from ranks import run_ranks
from tolerances import assert_rounding

trl = pytest.importorskip("trl", reason="trl is not installed")
import transformers  # noqa: E402
from datasets import Dataset  # noqa: E402

STEPS = 5
SMALL = dict(
    vocab_size=258, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=1, max_position_embeddings=64,
)  # fmt: skip
GPT2 = dict(
    vocab_size=258, n_embd=32, n_layer=2, n_head=2, n_positions=64, pad_token_id=0, bos_token_id=1, eos_token_id=1
)
HEADS = {
    "tied": ("Qwen3Config", dict(tie_word_embeddings=True)),
    "untied": ("LlamaConfig", {}),
    "gpt2": ("GPT2Config", GPT2),
    "bias": ("PhiConfig", {}),
    "softcap": ("Gemma2Config", dict(final_logit_softcapping=2.0, query_pre_attn_scalar=16)),
    "multiplied": ("CohereConfig", dict(logit_scale=0.25)),
    "divided": ("GraniteConfig", dict(logits_scaling=3.0)),
    "experts": ("MixtralConfig", dict(num_local_experts=4, num_experts_per_tok=2)),
}


def make_model(config_name: str, options: dict, sharpness: float = 8.0) -> transformers.PreTrainedModel:
    """A model from its configuration, with a head sharp enough that its distributions are far from uniform."""
    known = GPT2 if config_name == "GPT2Config" else SMALL | options
    config = getattr(transformers, config_name)(**known)
    config._experts_implementation = "eager"  # the grouped product knows no float64
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(sharpness)
        if (bias := model.get_output_embeddings().bias) is not None:
            bias.normal_()
    return model


def batch() -> dict[str, torch.Tensor]:
    """Two rows, one of them padded; the labels begin with the fifth token."""
    ids = torch.randint(2, 258, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :4] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("kind", HEADS)
def test_log_probs_entropies_and_gradients_are_those_of_the_models_logits(kind: str) -> None:
    """Hidden states are the same in both; in float64 the heads differ by roundings of sums over the vocabulary."""
    model, inputs = make_model(*HEADS[kind]).double(), batch()
    labels = inputs["labels"]
    plain = {name: value for name, value in inputs.items() if name != "labels"}
    extra = dict(output_router_logits=True) if kind == "experts" else {}
    own = model(**plain, **extra)
    log_p = (own.logits[:, :-1] / 0.7).log_softmax(-1)
    scored = labels[:, 1:] != -100
    expected = log_p.gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0] * scored
    entropy = -(log_p.exp() * log_p).sum(-1) * scored
    parameters = [p for p in model.parameters() if p.requires_grad]
    wanted = torch.autograd.grad((2 * expected + entropy).sum(), parameters, allow_unused=True)

    install_fused_head(model, temperature=0.7, entropy="grad")
    output = model(**inputs, **extra, fused_lm_head=True)
    assert_rounding("log_probs", output.log_probs, expected, terms=258)
    assert_rounding("entropy", output.entropy, entropy, terms=258)
    assert torch.equal(output.label_mask, scored)
    if kind == "experts":
        torch.testing.assert_close(output.aux_loss, own.aux_loss)
    (2 * output.log_probs + output.entropy).sum().backward()
    scale = max(gradient.abs().max() for gradient in wanted if gradient is not None)
    for parameter, gradient in zip(parameters, wanted, strict=True):
        if gradient is not None:
            # Layers that compute in float32 whatever the weights (norms, rotary) round the gradients behind them.
            torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-6 * float(scale))


def test_every_other_call_is_the_models_own() -> None:
    model, inputs = make_model(*HEADS["softcap"]), batch()
    own, keys = model(**inputs), list(model.state_dict())
    generated = model.generate(inputs["input_ids"][:1], max_new_tokens=3, do_sample=False)
    install_fused_head(model)
    again = model(**inputs)
    assert torch.equal(own.logits, again.logits) and torch.equal(own.loss, again.loss)
    assert torch.equal(generated, model.generate(inputs["input_ids"][:1], max_new_tokens=3, do_sample=False))
    assert list(model.state_dict()) == keys


def test_labels_already_shifted_are_scored_where_they_stand() -> None:
    model, inputs = make_model(*HEADS["untied"]), batch()
    install_fused_head(model)
    labels = inputs.pop("labels")
    shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
    expected = model(**inputs, labels=labels, fused_lm_head=True).log_probs
    got = model(**inputs, shift_labels=shifted, fused_lm_head=True).log_probs
    assert got.shape == labels.shape and torch.equal(got[:, :-1], expected) and not got[:, -1].any()
    with pytest.raises(ValueError, match="needs the tokens to score: labels, or shift_labels"):
        model(**inputs, fused_lm_head=True)


def test_a_batch_without_labels_still_reaches_every_parameter() -> None:
    """A rank whose completions are all masked must run the same backward as the others."""
    model, inputs = make_model(*HEADS["untied"]), batch()
    install_fused_head(model)
    output = model(**inputs | {"labels": torch.full_like(inputs["labels"], -100)}, fused_lm_head=True)
    output.log_probs.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


@pytest.mark.slow
def test_sharded_by_fsdp2_its_gradients_are_the_unsharded_ones(tmp_path: Path) -> None:
    """Tied in the root's group, untied as a group of its own; float64 but for the norms, which are float32 inside."""
    run_ranks(2, "fused_head_worker.py", tmp_path / "said.log", str(tmp_path / "gradients.pt"))
    found = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for case, tied in fused_head_worker.CASES.items():
        expected = fused_head_worker.gradients(fused_head_worker.make(tied), fused_head_worker.batch())
        scale = max(float(gradient.abs().max()) for gradient in expected.values())
        assert found[case].keys() == expected.keys() and scale > 0
        for name, gradient in expected.items():
            torch.testing.assert_close(found[case][name], gradient, rtol=0, atol=1e-6 * scale)


def reward(completions: list[str], **_: object) -> list[float]:
    return [len(set(text)) / max(len(text), 1) for text in completions]


def train(trainer_class: type, config_class: type, directory: Path, **options: object):
    """Five steps of the real trainer; SGD, whose updates are as exact as its gradients (Adam divides by their size)."""
    args = config_class(
        str(directory / "out"), use_cpu=True, bf16=False, max_steps=STEPS, logging_steps=1, seed=3, report_to="none",
        save_strategy="no", disable_tqdm=True, optim="sgd", learning_rate=0.05, lr_scheduler_type="constant",
        per_device_train_batch_size=8, num_generations=4, max_completion_length=8, **options,
    )  # fmt: skip
    trainer = trainer_class(
        model=str(directory / "model"),
        reward_funcs=reward,
        args=args,
        train_dataset=Dataset.from_dict({"prompt": ["ab", "hello there", "x", "int f()"] * 4}),
    )
    calls = []
    trainer.model.get_output_embeddings().register_forward_hook(lambda *call: calls.append(len(call[1])))
    trainer.train()
    return trainer, calls


RUNS = {
    "grpo": ("GRPO", HEADS["tied"], {}),
    # Old log-probs from before the update, a reference model, an entropy bonus, another temperature, a float32 head.
    "grpo-all": (
        "GRPO",
        HEADS["softcap"],
        dict(beta=0.05, num_iterations=2, entropy_coef=0.02, temperature=0.8, cast_lm_head_to_fp32=True),
    ),
    "grpo-experts": ("GRPO", HEADS["experts"], dict(router_aux_loss_coef=0.1, gradient_accumulation_steps=2)),
    "rloo": ("RLOO", HEADS["bias"], dict(beta=0.05)),
}


@pytest.mark.parametrize("run", RUNS)
def test_five_steps_of_the_real_trainer_are_the_same_with_and_without(run: str, tmp_path: Path) -> None:
    """Same losses, same weights, to the rounding of fp32.

    A loss and a gradient are sums of about a thousand terms (tokens, vocabulary, hidden sizes of a few layers), each
    rounded to eps; steps carry a difference of weights on into the next, completions stay the same.
    """
    kind, head, options = RUNS[run]
    trainer_class, config_class = getattr(trl, f"{kind}Trainer"), getattr(trl, f"{kind}Config")
    make_model(*head).save_pretrained(tmp_path / "model")
    tiny.byte_tokenizer().save_pretrained(tmp_path / "model")
    ours_class = type("Ours", (FusedLogprobsMixin, trainer_class), {})
    theirs, theirs_calls = train(trainer_class, config_class, tmp_path, **options)
    ours, calls = train(ours_class, config_class, tmp_path, **options)

    tolerance = STEPS * 1000 * torch.finfo(torch.float32).eps
    rows = [[row for row in t.state.log_history if "loss" in row] for t in (theirs, ours)]
    assert len(rows[0]) == len(rows[1]) == STEPS
    for name in ("loss", "grad_norm", "entropy", "reward", *(["kl"] if "beta" in options else [])):
        before, after = ([row[name] for row in side if name in row] for side in rows)
        assert len(before) > 0 and after == pytest.approx(before, rel=tolerance, abs=tolerance), name
    weights = [tiny.weights_of(t.model) for t in (theirs, ours)]
    start = tiny.weights_of(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32))
    moved = (weights[0] - start).abs().max()
    assert moved > 1e-3
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-6, atol=float(tolerance * moved))
    # Theirs never calls its head with targets; ours does, at least once a step.
    assert set(theirs_calls) == {1} and calls.count(2) >= STEPS
    for model in filter(None, (ours.model, ours.ref_model)):
        assert type(model.get_output_embeddings()) is LinearTokenLogprobs


def test_a_head_that_is_not_read_right_is_refused() -> None:
    """RecurrentGemma caps its logits under a name of its own, `logits_soft_cap`."""
    options = dict(logits_soft_cap=0.5, lru_width=32, attention_window_size=16, block_types=["recurrent", "attention"])
    model = make_model("RecurrentGemmaConfig", options)
    with pytest.raises(ValueError, match="RecurrentGemmaForCausalLM: log-probs .* differ from those of its logits by"):
        install_fused_head(model)


def test_a_model_without_a_head_and_a_head_that_is_no_linear_layer_are_refused() -> None:
    model = make_model(*HEADS["untied"])
    with pytest.raises(ValueError, match="LlamaModel has no output embeddings"):
        install_fused_head(model.model)
    model.lm_head = torch.nn.Sequential(model.lm_head)
    with pytest.raises(TypeError, match="plain torch.nn.Linear, not .*Sequential"):
        install_fused_head(model)


def test_a_model_that_token_ids_cannot_run_is_refused_unless_told_otherwise() -> None:
    model = make_model(*HEADS["untied"])
    model.forward = lambda *args, **kwargs: (_ for _ in ()).throw(KeyError("pixel_values"))
    with pytest.raises(ValueError, match="cannot be run on 8 token ids .*pixel_values.* set verify_head = False"):
        install_fused_head(model)
    install_fused_head(model, verify=False)
    assert model(**batch(), fused_lm_head=True).log_probs.isfinite().all()


def test_a_float32_head_must_hold_float32() -> None:
    with pytest.raises(ValueError, match="float32_head is set but the head's weight is torch.bfloat16"):
        install_fused_head(make_model(*HEADS["untied"]).bfloat16(), float32_head=True)


@pytest.mark.parametrize("trainer", [trl.SFTTrainer, object])
def test_a_trainer_of_another_kind_is_refused(trainer: type) -> None:
    with pytest.raises(TypeError, match="Wrong must derive from FusedLogprobsMixin and then from trl's GRPOTrainer"):
        type("Wrong", (FusedLogprobsMixin, trainer), {})()


def test_lora_adapters_are_trained_and_one_on_the_head_is_refused(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    make_model(*HEADS["untied"]).save_pretrained(tmp_path / "model")
    tiny.byte_tokenizer().save_pretrained(tmp_path / "model")

    class Ours(FusedLogprobsMixin, trl.GRPOTrainer):
        def __init__(self, **kwargs: object) -> None:
            super().__init__(peft_config=peft.LoraConfig(r=2, target_modules=self.targets), **kwargs)

    Ours.targets = ["q_proj"]
    trainer, calls = train(Ours, trl.GRPOConfig, tmp_path, beta=0.05)
    assert calls.count(2) >= STEPS
    assert any(p.abs().max() > 0 for name, p in trainer.model.named_parameters() if "lora_B" in name)
    Ours.targets = ["lm_head"]
    with pytest.raises(ValueError, match="lm_head"):
        train(Ours, trl.GRPOConfig, tmp_path)
