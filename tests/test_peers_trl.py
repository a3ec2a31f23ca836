"""Our losses and advantages against TRL's trainers, whose own methods are fed the same log-probs and rewards."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from loss_names import EPSILON_HIGH, GRPO, MAX_TOKENS
from oorl_kernels.advantages import group_advantages
from oorl_kernels.dpo_loss import dpo_loss
from oorl_kernels.policy_loss import policy_loss
from tiny import save_tiny_model, tiny_model

trl = pytest.importorskip("trl", reason="trl is not installed")
datasets = pytest.importorskip("datasets", reason="datasets, which TRL's trainers need, is not installed")

ROWS, TOKENS = 6, 7
LENGTHS = torch.tensor([7, 3, 1, 5, 7, 2])
# All in float64, but TRL's masks, counts and means of metrics are integers and float32.
TOLERANCE = dict(rtol=1e-10, atol=1e-12)
FLOAT32 = dict(rtol=1e-6, atol=1e-7)
# Of the settings that every trainer takes, those that keep it on the CPU, silent and without checkpoints.
QUIET = dict(use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True)


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def online_trainer(
    kind: str, model_directory: Path, reward=lambda completions, **_: [0.0] * len(completions), **config
):
    """A GRPOTrainer or RLOOTrainer of the tiny model, groups of four."""
    arguments = getattr(trl, f"{kind}Config")(
        output_dir=str(model_directory / "out"), per_device_train_batch_size=8, num_generations=4,
        max_completion_length=MAX_TOKENS, **QUIET, **config,
    )  # fmt: skip
    prompts = datasets.Dataset.from_dict({"prompt": ["ab", "cd"]})
    trainer = getattr(trl, f"{kind}Trainer")(str(model_directory), reward, args=arguments, train_dataset=prompts)
    trainer.model.eval()  # so that _compute_loss does not ask how far gradients have been accumulated
    return trainer


CASES = [
    *itertools.product(("dapo", "grpo", "dr_grpo"), ("token",), (dict(beta=0.04), dict(delta=1.5))),
    ("grpo", "sequence", {}),  # GSPO
    ("luspo", "sequence", dict(delta=1.5)),
    ("dapo", "sequence", dict(beta=0.04)),
    ("bnpo", "token", dict(entropy_coef=0.05)),
    ("cispo", "token", dict(beta=0.04)),
    ("bnpo", "token", dict(beta=0.04, use_bias_correction_kl=True)),  # TRL's default
    ("cispo", "sequence", {}),
]


@pytest.mark.parametrize("loss_type, ratio_level, extra", CASES)
def test_policy_loss_equals_trls_grpo(loss_type, ratio_level, extra, model_directory, monkeypatch):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    logprobs = (-normal(ROWS, TOKENS).abs()).requires_grad_()
    old, ref = (logprobs.detach() + 0.4 * normal(ROWS, TOKENS) for _ in range(2))
    entropy, advantages = normal(ROWS, TOKENS).abs().requires_grad_(), normal(ROWS)
    loss_mask = (torch.arange(TOKENS) < LENGTHS[:, None]).long()

    trainer = online_trainer(
        "GRPO", model_directory, loss_type=loss_type, importance_sampling_level=ratio_level, epsilon=0.2,
        epsilon_high=EPSILON_HIGH.get(loss_type, 0.28), **{"use_bias_correction_kl": False} | extra,
    )  # fmt: skip
    monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", lambda *_, **__: (logprobs, entropy, None))
    ids = torch.ones(ROWS, TOKENS, dtype=torch.long)
    want = trainer.compute_loss(
        trainer.model,
        {
            "prompt_ids": ids, "prompt_mask": ids, "completion_ids": ids, "completion_mask": loss_mask,
            "advantages": advantages, "old_per_token_logps": old, "ref_per_token_logps": ref,
            "num_items_in_batch": loss_mask.sum(),
        },
    )  # fmt: skip
    options = {"clip_eps_high": 0.28, "kl_coef": extra.get("beta", 0.0), "dual_clip": extra.get("delta")}
    options["kl_importance"] = extra.get("use_bias_correction_kl", False)
    got = policy_loss(
        logprobs, old, advantages, loss_mask, ratio_level=ratio_level, ref_logprobs=ref, entropy=entropy,
        entropy_coef=extra.get("entropy_coef", 0.0), **options, **GRPO[loss_type],
    )  # fmt: skip
    torch.testing.assert_close(got.loss, want, **TOLERANCE)
    leaves = (logprobs, entropy) if "entropy_coef" in extra else (logprobs,)
    torch.testing.assert_close(torch.autograd.grad(got.loss, leaves), torch.autograd.grad(want, leaves), **TOLERANCE)
    figures = {name: torch.tensor(values[0]) for name, values in trainer._metrics["eval"].items()}
    metrics = got.metrics
    torch.testing.assert_close(metrics.entropy / metrics.tokens, figures["entropy"], **FLOAT32)
    if "beta" in extra:
        torch.testing.assert_close(metrics.ref_kl / metrics.tokens, figures["kl"], **FLOAT32)
    if ratio_level == "token" and loss_type != "cispo":
        torch.testing.assert_close(metrics.clipped_low / metrics.tokens, figures["clip_ratio/low_mean"], **FLOAT32)
        torch.testing.assert_close(metrics.clipped_high / metrics.tokens, figures["clip_ratio/high_mean"], **FLOAT32)


@pytest.mark.parametrize(
    "kind, mode, config, std_eps",
    [
        ("RLOO", "rloo", {"normalize_advantages": False}, None),
        ("GRPO", "dr_grpo", {"scale_rewards": "none"}, None),
        ("GRPO", "grpo", {"scale_rewards": "group"}, 1e-4),
    ],
)
def test_group_advantages_equal_those_of_trls_trainers(kind, mode, config, std_eps, model_directory):
    rewards = [1.0, 0.0, None, 3.0, 0.25, 0.5, 0.5, 0.125]
    trainer = online_trainer(kind, model_directory, lambda completions, **_: rewards, beta=0.0, **config)
    batch = [{"prompt": prompt} for prompt in ("ab", "cd") for _ in range(4)]
    trainer.model.train()  # else the groups are those of evaluation
    want = trainer._generate_and_score_completions(batch)["advantages"]
    values = torch.tensor([float("nan") if reward is None else reward for reward in rewards])
    got = group_advantages(values, torch.arange(8) // 4, mode=mode)
    if std_eps is None:
        torch.testing.assert_close(got, want, **FLOAT32)
    else:  # TRL adds 1e-4 to the std where we add 1e-6, and divides by nothing else
        std = torch.stack([group[~group.isnan()].std() for group in values.split(4)]).repeat_interleave(4)
        torch.testing.assert_close(got * (std + 1e-6) / (std + std_eps), want, **FLOAT32)


@pytest.mark.parametrize("loss_type, label_smoothing", [("sigmoid", 0.0), ("ipo", 0.0), ("aot", 0.1)])
def test_dpo_loss_equals_trls(loss_type, label_smoothing, model_directory):
    pairs = 1 if loss_type == "aot" else 3  # which sorts the pairs' margins: of one pair it is smoothed DPO
    generator = torch.Generator().manual_seed(1)
    completion_mask = torch.arange(TOKENS + 1) <= LENGTHS[: 2 * pairs, None]  # the first token is the prompt
    completion_mask[:, 0] = False
    shape = (2 * pairs, TOKENS)
    policy, ref = (-torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    policy, ref = (scores * completion_mask[:, 1:] for scores in (policy, ref))
    policy.requires_grad_()

    def answering(log_probs: torch.Tensor):
        zeros = torch.zeros(shape)
        answer = SimpleNamespace(log_probs=log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
        return lambda **_: answer

    arguments = trl.DPOConfig(
        str(model_directory / "out"), loss_type=loss_type, label_smoothing=label_smoothing, beta=0.3, **QUIET
    )
    rows = datasets.Dataset.from_dict({"prompt": ["ab"], "chosen": ["c"], "rejected": ["d"]})
    trainer = trl.DPOTrainer(str(model_directory), tiny_model(), args=arguments, train_dataset=rows)
    trainer.ref_model = answering(ref)
    ids = torch.ones(2 * pairs, TOKENS + 1, dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": ids, "completion_mask": completion_mask.long()}
    want = trainer._compute_loss(answering(policy), batch, return_outputs=False)

    sizes = completion_mask.sum(1) if loss_type == "ipo" else 1  # TRL's IPO takes means over tokens
    scores, ref_scores = (values.sum(1) / sizes for values in (policy, ref))
    got = dpo_loss(
        *scores.split(pairs), *ref_scores.split(pairs), beta=0.3, label_smoothing=label_smoothing,
        loss_type="ipo" if loss_type == "ipo" else "sigmoid",
    )  # fmt: skip
    torch.testing.assert_close(got.loss, want, **TOLERANCE)
    torch.testing.assert_close(*(torch.autograd.grad(loss, policy) for loss in (got.loss, want)), **TOLERANCE)
    if loss_type != "ipo":
        figures = {name: values[0] for name, values in trainer._metrics["eval"].items()}
        assert got.chosen_rewards.mean().item() == pytest.approx(figures["rewards/chosen"])
        assert got.rejected_rewards.mean().item() == pytest.approx(figures["rewards/rejected"])
        accuracy = (got.chosen_rewards > got.rejected_rewards).float().mean().item()
        assert accuracy == pytest.approx(figures["rewards/accuracies"])
