"""The study of GEPO against DPO: its split, its measures, and that arms differ in their loss alone."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny

from bench.ir_ranking import __main__ as command
from bench.ir_ranking import study as stages_of_study
from bench.ir_ranking.measures import (
    ORDERS,
    RATIO,
    SUM,
    TOKEN,
    TOKEN_RATIO,
    Scores,
    averaged,
    baselines,
    differences,
    intervals,
    rankings,
    winner_variances,
)
from bench.ir_ranking.report import ALL, SCHEMA, study_rows
from bench.ir_ranking.settings import ARMS, MATCHED, Candidate, Settings
from bench.ir_ranking.split import split_groups, thinned
from bench.ir_ranking.study import Study, arm_config, follow_winners, run_study
from bench.rows import read_rows
from oorl.config import override
from oorl.data.ir_groups import IRGroup, read_ir_groups, write_ir_groups
from oorl.data.jsonl import read_jsonl
from oorl.errors import UserError
from oorl.policy.model import load_policy, load_tokenizer
from oorl.policy.packing import pack
from oorl.policy.preference import member_trees, preference_group
from oorl.policy.prompts import Prompter
from oorl.training.checkpoint import Progress
from oorl.training.loop import next_groups
from oorl.training.mesh import World

KINDS = (("hard", "direct", ["shift_kind"]), ("easy", "reopt", ["drop_store"]), ("hard", "reopt", ["drop_store"]))
SMALL = Settings(
    train_groups=4,
    validation_groups=2,
    heldout_groups=3,
    train_members=2,
    vocab_size=280,
    hidden_size=16,
    num_layers=1,
    warmup_steps=2,
    warmup_batch=2,
    updates=2,
    groups_per_update=2,
    likelihood=(Candidate(1e-3),),
    dpo=(Candidate(1e-3, 0.1), Candidate(1e-3, 10.0, True)),
    gepo=(Candidate(1e-3, 10.0, True),),
)


def graded_groups(count: int, programs: int = 10**6) -> list[IRGroup]:
    """Groups as the builder grades them; ``programs`` clusters in turn."""
    return [
        dataclasses.replace(
            group,
            dedup_cluster=f"program {k % programs}",
            losers=tuple(
                loser | {"bin": bin_, "style": style, "operators": operators}
                for loser, (bin_, style, operators) in zip(group.losers, KINDS, strict=True)
            ),
        )
        for k, group in enumerate(tiny.tiny_groups(count))
    ]


def clusters(groups: list[IRGroup]) -> set[str]:
    return {group.dedup_cluster for group in groups}


def test_no_program_stands_in_two_parts_whatever_the_order_of_the_file() -> None:
    groups = graded_groups(60, programs=23)  # two or three groups a program
    settings = dataclasses.replace(SMALL, train_groups=20, validation_groups=6, heldout_groups=9)
    parts = split_groups(groups, settings, "g.jsonl")
    assert [len(part) for part in parts] == [20, 6, 9]
    assert not clusters(parts.train) & clusters(parts.validation)
    assert not (clusters(parts.train) | clusters(parts.validation)) & clusters(parts.heldout)
    random.Random(0).shuffle(groups)
    again = split_groups(groups, settings, "g.jsonl")
    assert [clusters(part) for part in again] == [clusters(part) for part in parts]


def test_training_groups_keep_some_members_and_the_others_all() -> None:
    group = graded_groups(1)[0]
    few = thinned(group, 2)
    assert len(few.winners) == 2 and len(few.losers) == 2
    assert set(map(id, few.losers)) < set(map(id, group.losers)) and few == thinned(group, 2)
    assert thinned(group, 9) == group
    parts = split_groups(graded_groups(9), dataclasses.replace(SMALL, train_members=1), "g.jsonl")
    assert {len(g.losers) for g in parts.train} == {1} and {len(g.losers) for g in parts.heldout} == {3}


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (graded_groups(1), ["1 groups of 1 programs", "leave 1 heldout groups", "3 are needed", "at least 9"]),
        (graded_groups(8), ["3 train groups", "4 are needed"]),
        (graded_groups(40, programs=1), ["40 groups of 1 programs", "leave 0 validation groups"]),
        ([*graded_groups(20), *tiny.tiny_groups(1)], ["group-1", "no dedup_cluster", "oorl build-ir"]),
    ],
)
def test_files_that_cannot_be_split_are_refused(groups: list[IRGroup], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        split_groups(groups, SMALL, "some/groups.jsonl")
    message = str(caught.value)
    assert message.startswith("some/groups.jsonl: ") and "\n" not in message
    assert all(word in message for word in words), message


def test_rankings_by_order_and_kind_are_those_counted_by_hand() -> None:
    """Two winners, three losers: sums, lengths and base chosen so that the four orders disagree."""
    group = graded_groups(1)[0]
    scores = Scores(sums=(-10.0, -6.0, -8.0, -6.0, -20.0), tokens=(10, 3, 4, 3, 25))
    base = Scores(sums=(-12.0, -5.0, -8.0, -9.0, -30.0), tokens=scores.tokens)
    orders = scores.orders(base)
    assert orders[TOKEN] == [-1.0, -2.0, -2.0, -2.0, -0.8]
    assert orders[RATIO] == [2.0, -1.0, 0.0, 3.0, 10.0]
    assert orders[TOKEN_RATIO] == pytest.approx([0.2, -1 / 3, 0.0, 1.0, 0.4])
    found = rankings(group, orders)
    assert found[TOKEN] == (1 + 1 + 0 + 0.5 + 0.5 + 0) / 6
    assert found[SUM] == (0 + 0 + 1 + 1 + 0.5 + 1) / 6
    assert found[RATIO] == 1 / 6 and found[TOKEN_RATIO] == 1 / 6
    assert found[f"{TOKEN}; bin hard"] == (1 + 0 + 0.5 + 0) / 4  # the first and the third loser
    assert found[f"{TOKEN}; bin easy"] == (1 + 0.5) / 2
    assert found[f"{TOKEN}; style reopt"] == found[f"{TOKEN}; operator drop_store"] == (1 + 0 + 0.5 + 0) / 4
    assert found[f"{SUM}; operator shift_kind"] == (0 + 1) / 2
    assert len(found) == len(ORDERS) * (1 + 2 + 2 + 2)


def test_baselines_know_lengths_alone() -> None:
    group = graded_groups(1)[0]  # texts differ by their operation: add, add nsw; sub, mul, xor
    found = baselines(group, tokens=(5, 7, 6, 5, 9))
    assert found["shorter text"] == (0.5 * 3 + 0.0 * 3) / 6
    assert found["fewer tokens"] == (1 + 0.5 + 1 + 0 + 0 + 1) / 6


def test_winner_variance_is_a_mean_over_groups_of_population_variances() -> None:
    scores = [Scores((1.0, 3.0, 9.0), (2, 2, 1)), Scores((0.0, 0.0, 0.0, 5.0), (1, 2, 4, 1))]
    base = [Scores((0.0, 0.0, 0.0), (2, 2, 1)), Scores((0.0, -2.0, -4.0, 0.0), (1, 2, 4, 1))]
    found = winner_variances(scores, base, [2, 3])
    # ratios (1, 3) and (0, 2, 4); a token (0.5, 1.5) and (0, 1, 1)
    assert found == {RATIO: pytest.approx((1 + 8 / 3) / 2), TOKEN_RATIO: pytest.approx((0.25 + 2 / 9) / 2)}


def test_averages_and_differences_go_group_by_group() -> None:
    one = [{"a": 0.0, "a; x": 1.0}, {"a": 1.0}]
    two = [{"a": 1.0, "a; x": 0.0}, {"a": 0.5}]
    mean = averaged([one, two])
    assert mean == [{"a": 0.5, "a; x": 0.5}, {"a": 0.75}]
    assert differences(one, two) == [{"a": -1.0, "a; x": 1.0}, {"a": 0.5}]
    found = intervals(mean)
    assert found["a"] == {"mean": 0.625, "low": 0.5, "high": 0.75, "groups": 2}
    assert found["a; x"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "groups": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Study, dict]:
    root = tmp_path_factory.mktemp("ranking")
    write_ir_groups(root / "groups.jsonl", graded_groups(12))
    study = Study(root / "out", root / "groups.jsonl", SMALL)
    return study, run_study(study, [0, 1])


def test_arms_start_from_one_base_and_differ_in_their_loss(finished) -> None:
    study, outcome = finished
    seen = set()
    for seed in (0, 1):
        starts = {}
        for arm in ("dpo", "gepo"):
            config = arm_config(study, seed, arm, Candidate(1e-3, 10.0, True))
            assert config.model.path == str(study.base(seed)) and config.gepo.loss == arm
            rows = [row for _, row in read_jsonl(Path(config.training.out_dir) / "metrics.jsonl")]
            assert len(rows) == SMALL.updates
            assert rows[0]["loss/gepo"] == pytest.approx(math.log(2), abs=1e-6), "at the reference every margin is 0"
            journal = read_jsonl(Path(config.training.out_dir) / "ref_scores.jsonl")
            starts[arm] = {digest: score for _, row in journal for digest, score in row["scores"].items()}
            assert rows[-1]["gepo/margin"] != 0.0
        seen.update(map(json.dumps, starts.values()))
        scores = outcome["scores"][seed]
        assert set(scores) == {"base", *ARMS, MATCHED}
        assert all([of.tokens for of in scores[arm]] == [of.tokens for of in scores["base"]] for arm in scores)
        assert len({tuple(of.sums for of in scores[arm]) for arm in ("base", *ARMS)}) == 4, "every arm moved"
        assert scores[MATCHED] != scores["gepo"], "the same settings, another loss"
    assert len(seen) == 2, "one base a seed, the same for both losses"


def test_scores_are_summed_logprobs_of_whole_answers(finished) -> None:
    study, outcome = finished
    policy, prompter = load_policy(study.base(1)), Prompter(load_tokenizer(study.base(1)))
    for record, scores in zip(read_ir_groups(study.part("heldout")), outcome["scores"][1]["base"], strict=True):
        group = preference_group(record, prompter)
        (batch,) = pack(member_trees([group]), row_tokens=10**5, batch_tokens=10**5)
        expected = batch.sum_per_sequence(policy.score(batch)[0].detach())
        assert scores.sums == pytest.approx(expected.tolist(), abs=1e-3)
        assert scores.tokens == tuple(len(member) for member in group.members)


def test_the_control_sees_the_trainers_groups_in_order_and_their_winners_alone(finished, tmp_path, monkeypatch) -> None:
    study, _ = finished
    config = override(arm_config(study, 1, "likelihood", Candidate(1e-3)), [f"training.out_dir={tmp_path}"])
    seen, backward = [], stages_of_study.backward_likelihood

    def observed(policy, groups):
        if not seen:
            winners = [member for group in groups for member in group.members[: group.num_winners]]
            (batch,) = pack(member_trees(groups), row_tokens=10**5, batch_tokens=10**5)
            sums = batch.sum_per_sequence(policy.score(batch)[0].detach()).split([len(g.members) for g in groups])
            total = sum(float(of[: group.num_winners].sum()) for of, group in zip(sums, groups, strict=True))
            assert backward(policy, groups) == pytest.approx(-total / sum(map(len, winners)), rel=1e-4)
            policy.zero_grad()
        seen.append([group.group_id for group in groups])
        return backward(policy, groups)

    monkeypatch.setattr(stages_of_study, "backward_likelihood", observed)
    follow_winners(config)
    prompter = Prompter(load_tokenizer(study.base(1)))
    groups = [preference_group(record, prompter) for record in read_ir_groups(study.part("train"))]
    run = SimpleNamespace(config=config, groups=groups, progress=Progress(), world=World())
    assert seen == [[group.group_id for group in next_groups(run)] for _ in range(SMALL.updates)]
    assert (tmp_path / "model" / "config.json").exists()


def test_the_candidate_that_ranks_validation_best_is_chosen(finished) -> None:
    _, outcome = finished
    trials, chosen = outcome["trials"]["dpo"], outcome["chosen"]["dpo"]
    assert set(trials) == {candidate.label for candidate in SMALL.dpo}
    assert trials[chosen.label] == max(trials.values())
    assert outcome["data"]["heldout_pairs"] == 3 * 2 * 3


def test_a_finished_study_runs_nothing_again(finished, monkeypatch, capsys) -> None:
    study, outcome = finished
    for name in ("train", "warm_up", "follow_winners", "_score", "train_tokenizer"):
        monkeypatch.setattr(stages_of_study, name, lambda *_, **__: pytest.fail("ran again"))
    again = run_study(study, [0, 1])
    assert again == outcome and "finished before" in capsys.readouterr().out
    with pytest.raises(UserError, match="other settings"):
        run_study(dataclasses.replace(study, settings=dataclasses.replace(SMALL, updates=3)), [0])


def test_rows_average_over_seeds_and_pair_differences(finished) -> None:
    study, outcome = finished
    rows = list(study_rows(study, outcome))
    by = {(row["arm"], row["seed"]): row["ranked"] for row in rows}
    assert len(rows) == 1 + 2 * 5 + 5 + 5 and len(by) == len(rows)
    assert by["base", 0][RATIO]["mean"] == 0.5, "a model against itself has nothing but ties"
    for order in ORDERS:
        means = {arm: by[arm, ALL][order]["mean"] for arm in ("base", *ARMS)}
        assert means["gepo"] == pytest.approx(
            (by["gepo", 0][order]["mean"] + by["gepo", 1][order]["mean"]) / 2, abs=1e-4
        )
        assert by["gepo - dpo", ALL][order]["mean"] == pytest.approx(means["gepo"] - means["dpo"], abs=2e-4)
    assert all(row["schema"] == SCHEMA and row["heldout_groups"] == 3 for row in rows)


def test_the_command_appends_rows_and_draws(finished, tmp_path, monkeypatch, capsys) -> None:
    study, _ = finished
    monkeypatch.setattr(command, "Settings", lambda: SMALL)
    results, plot = tmp_path / "results", tmp_path / "plot.svg"
    arguments = ["--groups", str(study.groups_path), "--out", str(study.root), "--seeds", "0", "1"]
    assert command.main([*arguments, "--results", str(results), "--plot", str(plot)]) == 0
    rows = read_rows(results, SCHEMA)
    assert len(rows) == 21 and {"device", "commit", "command", "torch", "date"} <= rows[0].keys()
    assert plot.read_text().count("<svg") == 1
    printed = capsys.readouterr().out
    assert "| GEPO - DPO |" in printed and "bin hard" in printed


def test_a_file_of_one_group_is_refused_in_one_sentence(tmp_path, capsys) -> None:
    write_ir_groups(tmp_path / "one.jsonl", graded_groups(1))
    assert command.main(["--groups", str(tmp_path / "one.jsonl"), "--out", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ") and "1 groups of 1 programs" in message and "\n" not in message
    assert not (tmp_path / "out").exists()
