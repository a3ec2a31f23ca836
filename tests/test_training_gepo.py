"""GEPO's two passes against one pass over everything."""

from __future__ import annotations

import dataclasses
import math

import pytest
import tiny
import torch

from oorl.config import Config, override
from oorl.policy.model import Policy
from oorl.policy.packing import pack
from oorl.policy.preference import PreferenceGroup, member_trees, preference_group
from oorl.policy.prompts import Prompter
from oorl.training.gepo import backward_gepo_loss, group_loss
from oorl.training.mesh import World
from oorl.training.metrics import StepMetrics


def groups_with_reference(noise: float = 1.0) -> list[PreferenceGroup]:
    """Tokenized groups with reference scores around an untrained model's, so that the margins are not zero."""
    prompter = Prompter(tiny.byte_tokenizer())
    groups = [preference_group(record, prompter) for record in tiny.tiny_groups(3)]
    generator = torch.Generator().manual_seed(0)
    scored = []
    for group in groups:
        reference = [
            -len(member) * math.log(258) + noise * float(torch.randn(1, generator=generator))
            for member in group.members
        ]
        scored.append(dataclasses.replace(group, ref_scores=tuple(reference)))
    return scored


def single_pass_gradient(policy: Policy, groups: list[PreferenceGroup], config: Config) -> torch.Tensor:
    """The definition: all members in one graph, the loss written out with plain operations (eq. 6-9, or DPO)."""
    policy.zero_grad()
    total = 0.0
    for group in groups:
        (batch,) = pack([member_trees([group])[0]], row_tokens=10**6, batch_tokens=10**6)
        scores = batch.sum_per_sequence(policy.score(batch)[0])
        reference = torch.tensor(group.ref_scores, dtype=scores.dtype)
        if config.gepo.length_normalize:
            scores = scores / torch.tensor([len(member) for member in group.members])
        ratio = scores - reference
        winners, losers = ratio[: group.num_winners], ratio[group.num_winners :]
        if config.gepo.loss == "dpo":
            pairs = torch.stack([winner - loser for winner in winners for loser in losers])
            total = total - torch.nn.functional.logsigmoid(config.gepo.beta * pairs).mean()
            continue
        delta = config.gepo.beta * (winners.mean() - losers.mean())
        variance = (winners - winners.mean()).square().mean()
        total = total - torch.nn.functional.logsigmoid(delta) + config.gepo.variance_weight * variance
    (config.objective.w_gepo * total / len(groups)).backward()
    return torch.cat([parameter.grad.flatten() for parameter in policy.parameters()])


@pytest.mark.parametrize("loss", ["gepo", "dpo"])
@pytest.mark.parametrize("length_normalize", [False, True])
@pytest.mark.parametrize(("row_tokens", "micro_batch_tokens"), [(64, 64), (256, 512), (4096, 16384)])
def test_two_passes_equal_one(loss: str, length_normalize: bool, row_tokens: int, micro_batch_tokens: int) -> None:
    """float64; the norms inside Qwen3 are fp32, so 1e-6 of the largest entry is a dozen of their roundings."""
    policy = Policy(tiny.tiny_model(tied=False).double())
    config = override(
        Config(),
        [
            f"gepo.loss={loss}",
            f"gepo.length_normalize={str(length_normalize).lower()}",
            f"training.row_tokens={row_tokens}",
            f"training.micro_batch_tokens={micro_batch_tokens}",
            "objective.w_gepo=0.3",
        ],
    )
    groups = groups_with_reference()
    if length_normalize:
        groups = [
            dataclasses.replace(
                group, ref_scores=tuple(s / len(m) for s, m in zip(group.ref_scores, group.members, strict=True))
            )
            for group in groups
        ]
    expected = single_pass_gradient(policy, groups, config)
    policy.zero_grad()
    metrics = StepMetrics()
    backward_gepo_loss(policy, groups, config, World(), metrics)
    got = torch.cat([parameter.grad.flatten() for parameter in policy.parameters()])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
    row = metrics.merged(World())
    assert set(row) == {"loss/gepo", "gepo/margin", "gepo/winner_variance", "gepo/pair_accuracy"}
    assert 0 <= row["gepo/pair_accuracy"] <= 1


@pytest.mark.parametrize("loss", ["gepo", "dpo"])
def test_one_winner_one_loser_without_variance_is_dpo(loss: str) -> None:
    """-log sigmoid(beta (r_w - r_l)), the DPO loss (arXiv 2305.18290, eq. 7), written out."""
    config = override(Config(), [f"gepo.loss={loss}", "gepo.variance_weight=0", "gepo.beta=0.2"])
    group = PreferenceGroup("g", (5,), ((6, 1), (7, 8, 1)), 1, ref_scores=(-3.0, -5.0))
    scores = torch.tensor([-2.5, -5.5], dtype=torch.float64)
    expected = math.log1p(math.exp(-0.2 * ((-2.5 + 3.0) - (-5.5 + 5.0))))
    assert float(group_loss(scores, [group], config, 1.0).loss) == pytest.approx(expected, rel=1e-12)


def test_dpo_weighs_groups_alike_and_pairs_alike_within_a_group() -> None:
    """Two groups of 2 x 1 and 1 x 3 members against the definition in plain floats; value and every slope."""
    config = override(Config(), ["gepo.loss=dpo", "gepo.beta=0.5", "gepo.variance_weight=7"])
    groups = [
        PreferenceGroup("a", (5,), ((6, 1),) * 3, 2, ref_scores=(-1.0, -2.0, -3.0)),
        PreferenceGroup("b", (5,), ((6, 1),) * 4, 1, ref_scores=(-4.0, -3.0, -2.0, -1.0)),
    ]
    scores = torch.tensor([-1.5, -0.5, -3.5, -3.0, -3.25, -2.0, 9.0], dtype=torch.float64, requires_grad=True)
    ratios = [[-0.5, 1.5, -0.5], [1.0, -0.25, 0.0, 10.0]]
    expected, slopes = 0.0, [[0.0] * 3, [0.0] * 4]
    for g, (ratio, n) in enumerate(zip(ratios, (2, 1), strict=True)):
        pairs = [(w, k) for w in range(n) for k in range(n, len(ratio))]
        for w, k in pairs:
            wrong = 1 / (1 + math.exp(0.5 * (ratio[w] - ratio[k])))  # sigmoid of minus the margin
            expected -= math.log(1 - wrong) / len(pairs) / 4
            slopes[g][w] -= 0.5 * wrong / len(pairs) / 4
            slopes[g][k] += 0.5 * wrong / len(pairs) / 4
    result = group_loss(scores, groups, config, normalizer=4.0)
    result.loss.backward()
    assert float(result.loss.detach()) == pytest.approx(expected, rel=1e-12)
    assert scores.grad.tolist() == pytest.approx([*slopes[0], *slopes[1]], rel=1e-12)
    assert result.margin.tolist() == pytest.approx([0.5 * (0.5 + 0.5), 0.5 * (1.0 - 9.75 / 3)])
    assert result.winner_variance.tolist() == pytest.approx([1.0, 0.0])
    assert result.pair_accuracy.tolist() == pytest.approx([0.75, 2 / 3])


def test_a_rank_without_groups_still_runs_and_adds_nothing() -> None:
    policy = Policy(tiny.tiny_model())

    class Beside(World):
        """The second of two ranks, whose neighbour has three batches."""

        def max(self, value: int) -> int:
            return 3

    backward_gepo_loss(policy, [], Config(), Beside(), StepMetrics())
    assert all(p.grad is not None and not p.grad.any() for p in policy.parameters())
