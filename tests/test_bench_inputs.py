"""The benchmark's inputs: what a distribution, a share of rows and an entropy asked for turn into."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy
import pytest
import torch

from bench import rows
from bench.inputs import IGNORE_INDEX, Inputs, make_problem, sampled_targets, sharpening
from bench.oracle import compute_truth
from bench.real_states import PADDING_NATS, RealStates, digest, read_states, stretch
from bench.shapes import SHAPES, Shape

SMOKE = SHAPES["smoke"]
STORED = Shape("stored", 24, 40, 50, "float32", 2, "as long and wide as the file of these tests allows")


@pytest.fixture
def states() -> RealStates:
    generator = torch.Generator().manual_seed(5)
    hidden, head = torch.randn(24, 8, generator=generator), torch.randn(50, 8, generator=generator)
    return RealStates(hidden.half().float(), head.half().float(), torch.randint(50, (24,), generator=generator))


@pytest.fixture
def file(states: RealStates, tmp_path: Path) -> Path:
    path = tmp_path / "states.npz"
    arrays = {"hidden": states.hidden.half(), "head": states.head.half(), "targets": states.targets.int()}
    numpy.savez(path, about="made up", **{name: values.numpy() for name, values in arrays.items()})
    return path


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("distribution", "low", "high"), [("peaked", 0.9, 1.0), ("diffuse", 0.0, 0.1)])
def test_distributions_are_as_named(distribution: str, low: float, high: float) -> None:
    probabilities = compute_truth(make_problem(SMOKE, inputs=Inputs(distribution))).logprobs.exp()
    assert low < probabilities.min() and probabilities.max() < high + 1e-9


def test_mixed_has_flat_and_peaked_rows() -> None:
    probabilities = compute_truth(make_problem(SMOKE)).logprobs.exp()
    assert (probabilities > 0.99).any() and (probabilities < 0.1).any()


def test_inactive_rows_are_the_head_of_each_sequence() -> None:
    problem = make_problem(SMOKE, inputs=Inputs(active=0.25))
    mask = problem.loss_mask.view(SMOKE.sequences, -1)
    assert not mask[:, :18].any() and mask[:, 18:].all(), "a quarter of 24 rows, at the end"
    assert (problem.coefficients != 0).equal(problem.loss_mask)
    assert (problem.labels == IGNORE_INDEX).equal(~problem.loss_mask)
    assert problem.labels[problem.loss_mask].equal(problem.target_ids[problem.loss_mask])
    whole = make_problem(SMOKE)
    assert whole.loss_mask.all() and whole.hidden_states.equal(problem.hidden_states)


def test_a_frozen_head_asks_for_one_gradient() -> None:
    problem = make_problem(SMOKE, inputs=Inputs(frozen_head=True))
    assert problem.differentiated == (problem.hidden_states,)
    assert len(make_problem(SMOKE).differentiated) == 2
    assert not problem.detached().hidden_states.requires_grad


@pytest.mark.parametrize("nats", [0.5, 2.0])
def test_sharpening_reaches_the_entropy_asked_for(nats: float) -> None:
    problem = make_problem(SMOKE, inputs=Inputs("diffuse", entropy=nats))
    # fitted in float32 on all 96 rows: what is left is rounding
    assert compute_truth(problem).entropy.mean().item() == pytest.approx(nats, abs=1e-3)
    assert problem.sharpen > 1


def test_sampled_targets_follow_the_softmax() -> None:
    """One row drawn many times: frequencies within five standard deviations of the probabilities."""
    draws = 4000
    weight = torch.log(torch.tensor([[0.5], [0.3], [0.15], [0.05]]))
    targets = sampled_targets(torch.ones(draws, 1), weight, seeded())
    for token, p in enumerate(weight[:, 0].exp().tolist()):
        share = (targets == token).sum().item() / draws
        assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / draws)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"distribution": "flat"}, "distribution must be one of mixed, peaked, diffuse, real, not 'flat'"),
        ({"active": 0.0}, "active must be above 0 and at most 1, not 0.0"),
        ({"active": 1.5}, "active must be above 0"),
        ({"entropy": -1.0}, "entropy must be a positive number of nats, not -1.0"),
    ],
)
def test_inputs_refuse_what_makes_no_sense(arguments: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Inputs(**arguments)
    with pytest.raises(ValueError, match="more than log V"):
        sharpening(torch.ones(2, 3), torch.ones(4, 3), 1.5)
    with pytest.raises(ValueError, match="logits are tied"):
        sharpening(torch.ones(2, 3), torch.ones(4, 3), 1.0)


def test_rotation_keeps_the_logits(states: RealStates) -> None:
    hidden, head, targets = stretch(states, STORED, seeded())
    assert hidden.shape == (24, 40) and head.shape == (50, 40)
    torch.testing.assert_close(hidden @ head.T, states.hidden @ states.head.T, rtol=0, atol=1e-4)
    assert targets.equal(states.targets)


def test_more_tokens_repeat_and_more_vocabulary_lies_lower(states: RealStates) -> None:
    shape = Shape("long", 60, 16, 120, "float32", 1, "a test")
    hidden, head, targets = stretch(states, shape, seeded())
    logits = hidden @ head.T
    exact = states.hidden @ states.head.T
    torch.testing.assert_close(logits[:24, :50], exact, rtol=0, atol=1e-4)
    torch.testing.assert_close(logits[24:48, 50:100], exact - PADDING_NATS, rtol=0, atol=1e-4)
    assert targets.equal(states.targets.repeat(3)[:60])


def test_real_problem_has_the_file_s_probabilities(states: RealStates, file: Path) -> None:
    truth = compute_truth(make_problem(STORED, inputs=Inputs("real"), file=file))
    log_p = (states.hidden.double() @ states.head.double().T).log_softmax(1)
    torch.testing.assert_close(truth.logprobs, log_p[torch.arange(24), states.targets], rtol=0, atol=1e-5)
    torch.testing.assert_close(truth.entropy, -(log_p.exp() * log_p).sum(1), rtol=0, atol=1e-5)
    sharp = make_problem(STORED, inputs=Inputs("real", entropy=0.5), file=file)
    assert compute_truth(sharp).entropy.mean().item() == pytest.approx(0.5, abs=1e-3)


def test_a_head_in_int8_is_scaled_back(states: RealStates, tmp_path: Path) -> None:
    scale = (states.head.abs().amax(1, keepdim=True) / 127).half()
    small = (states.head / scale.float()).round().clamp(-127, 127).to(torch.int8)
    path = tmp_path / "int8.npz"
    arrays = {"hidden": states.hidden, "head": small, "head_scale": scale, "targets": states.targets}
    numpy.savez(path, **{name: values.numpy() for name, values in arrays.items()})
    assert (read_states(path).head - states.head).abs().max() <= 0.51 * scale.float().max()


def test_rows_name_the_data_they_were_measured_on(file: Path, tmp_path: Path) -> None:
    assert digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    assert digest(tmp_path / "absent.npz") is None
    assert rows.case_fields(STORED, Inputs())["data"] is None and "data" in rows.IDENTITY


def test_what_is_wrong_with_the_file_is_said(file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="python -m bench.real_lm makes it"):
        read_states(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match="H=8 and V=50, more than shape narrow"):
        make_problem(Shape("narrow", 8, 8, 60, "float32", 1, ""), inputs=Inputs("real"), file=file)
    numpy.savez(tmp_path / "half.npz", hidden=numpy.ones((2, 3)))
    with pytest.raises(ValueError, match="holds no head and no targets"):
        read_states(tmp_path / "half.npz")
    arrays = {"hidden": numpy.ones((2, 3)), "head": numpy.ones((5, 4)), "targets": numpy.zeros(2, dtype="int32")}
    numpy.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(ValueError, match=r"not hidden \[2, 3\], head \[5, 4\], targets \[2\]"):
        read_states(tmp_path / "odd.npz")
    numpy.savez(tmp_path / "ids.npz", **arrays | {"head": numpy.ones((5, 3)), "targets": numpy.array([0, 5])})
    with pytest.raises(ValueError, match="targets outside its vocabulary of 5"):
        read_states(tmp_path / "ids.npz")
