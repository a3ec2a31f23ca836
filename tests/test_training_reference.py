"""Reference scores: found once, kept in records and journals under the right names, and never taken for others."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import tiny
import torch
from ranks import run_ranks

from oorl.cli import main
from oorl.config import load_config, override
from oorl.data.ir_groups import IRGroup, group_from_json, read_ir_groups, write_ir_groups
from oorl.errors import UserError
from oorl.policy.model import Policy, load_policy, load_tokenizer
from oorl.policy.preference import PreferenceGroup, preference_group
from oorl.policy.prompts import Prompter
from oorl.policy.scoring import Budget
from oorl.training import reference_file, setup
from oorl.training.gepo import backward_gepo_loss
from oorl.training.mesh import World
from oorl.training.metrics import StepMetrics
from oorl.training.reference import ScoreJournal, reference_key, score_missing, with_reference
from oorl.training.reference_file import journal_of, score_file
from oorl.training.setup import Run, set_up

WORLD, CPU = World(), torch.device("cpu")
# fp32 log-probs of up to 200 tokens, against a float64 softmax over logits of another fp32 forward: each of the
# tokens is off by a few of fp32's roundings of numbers around 5.6 (5e-7), in either direction.
SUM_TOLERANCE = 200 * 5 * 5e-7


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_tiny_model(tmp_path_factory.mktemp("reference") / "model")


@torch.no_grad()
def log_prob(policy: Policy, prompt: tuple[int, ...], response: tuple[int, ...]) -> float:
    """The definition, from the model's own logits, a sequence by itself."""
    logits = policy.model(input_ids=torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1].double()
    return float(logits.log_softmax(-1).gather(-1, torch.tensor(list(response))[:, None]).sum())


def expected_scores(model_dir: Path, records: list[IRGroup]) -> list[dict[str, float]]:
    policy, prompter = load_policy(model_dir), Prompter(load_tokenizer(model_dir))
    return [
        {
            member["id"]: log_prob(policy, prompter.ir(record), prompter.response(member["ir"], "llvm"))
            for member in (*record.winners, *record.losers)
        }
        for record in records
    ]


def written(path: Path, records: list[IRGroup]) -> Path:
    write_ir_groups(path, records)
    return path


def scores_of(record: IRGroup, key: str) -> dict[str, float]:
    return {name: entry["score"] for name, entry in record.ref_scores[key].items()}


def test_the_command_writes_the_models_own_log_probs(model: Path, tmp_path: Path, capsys) -> None:
    records = tiny.tiny_groups(3)
    groups, out = written(tmp_path / "g.jsonl", records), tmp_path / "out.jsonl"
    assert main(["data", "reference", str(groups), "--model", str(model), "--device", "cpu", "--out", str(out)]) == 0
    key = reference_key(model, Prompter(tiny.byte_tokenizer()), length_normalize=False, device=CPU)
    assert f"15 of 15 members have a score under {key}, 15 of them new" in capsys.readouterr().out
    scored = read_ir_groups(out)
    for record, expected in zip(scored, expected_scores(model, records), strict=True):
        assert scores_of(record, key) == pytest.approx(expected, abs=SUM_TOLERANCE, rel=0)
    assert [dataclasses.replace(record, ref_scores={}) for record in scored] == records
    assert read_ir_groups(groups) == records and not journal_of(out).exists()


@pytest.mark.slow
def test_two_ranks_write_what_one_process_does(model: Path, tmp_path: Path) -> None:
    """Five groups: the second rank's share of a chunk is the smaller, and only the first writes."""
    path, out = written(tmp_path / "g.jsonl", tiny.tiny_groups(5)), tmp_path / "two.jsonl"
    command = ["data", "reference", str(path), "--model", str(model), "--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "one.jsonl")]) == 0
    run_ranks(2, "command_worker.py", tmp_path / "said.log", *command, str(out))
    for one, two in zip(read_ir_groups(tmp_path / "one.jsonl"), read_ir_groups(out), strict=True):
        (key,) = one.ref_scores
        assert scores_of(two, key) == pytest.approx(scores_of(one, key), abs=SUM_TOLERANCE, rel=0)
    assert (tmp_path / "said.log").read_text().count("25 of 25 members") == 1 and not journal_of(out).exists()


def test_several_models_stand_side_by_side_in_the_file_itself(model: Path, tmp_path: Path) -> None:
    other = tiny.save_tiny_model(tmp_path / "other", seed=1)
    groups = written(tmp_path / "g.jsonl", tiny.tiny_groups(2))
    for arguments in (["--model", str(model)], ["--model", str(other)], ["--model", str(model), "--length-normalize"]):
        assert main(["data", "reference", str(groups), *arguments, "--device", "cpu"]) == 0
    prompter = Prompter(tiny.byte_tokenizer())
    keys = [reference_key(path, prompter, length_normalize=False, device=CPU) for path in (model, other)]
    mean = reference_key(model, prompter, length_normalize=True, device=CPU)
    for record in read_ir_groups(groups):
        assert list(record.ref_scores) == [*keys, mean]
        first, second = (scores_of(record, key) for key in keys)
        assert all(abs(first[name] - second[name]) > 1e-3 for name in first)
        for member in (*record.winners, *record.losers):
            tokens = len(member["ir"].encode()) + len("```llvm\n\n```") + 1
            assert scores_of(record, mean)[member["id"]] == pytest.approx(first[member["id"]] / tokens, rel=1e-6)


def test_scores_are_reused_by_content_not_by_name(model: Path, tmp_path: Path) -> None:
    """Names exchanged: the scores follow the texts. A text or a prompt changed: scored anew."""
    path = written(tmp_path / "g.jsonl", tiny.tiny_groups(3))
    score = {"template": "auto", "max_tokens": 1000}
    key = score_file(path, model, path, WORLD, **score).key
    records = read_ir_groups(path)
    swapped, changed, prompted = records
    names = {"l0": "l1", "l1": "l0"}
    swapped = dataclasses.replace(
        swapped, losers=tuple({**m, "id": names.get(m["id"], m["id"])} for m in swapped.losers)
    )
    ir = changed.losers[0]["ir"].replace("sub", "udiv")
    changed = dataclasses.replace(changed, losers=({**changed.losers[0], "ir": ir}, *changed.losers[1:]))
    code = prompted.source["code"].replace("int a", "int b").replace("a +", "b +")
    prompted = dataclasses.replace(prompted, source={**prompted.source, "code": code})
    after = [swapped, changed, prompted]
    found = score_file(written(tmp_path / "new.jsonl", after), model, tmp_path / "out.jsonl", WORLD, **score)
    assert (found.key, found.members, found.with_score, found.computed) == (key, 15, 15, 10)
    got = read_ir_groups(tmp_path / "out.jsonl")
    for record, expected in zip(got, expected_scores(model, after), strict=True):
        assert scores_of(record, key) == pytest.approx(expected, abs=SUM_TOLERANCE, rel=0)
    before = scores_of(records[0], key)
    assert scores_of(got[0], key) == before | {"l0": before["l1"], "l1": before["l0"]}


def test_an_interrupted_call_goes_on_where_it_was(model: Path, tmp_path: Path, monkeypatch) -> None:
    records = tiny.tiny_groups(5)
    path, out = written(tmp_path / "g.jsonl", records), tmp_path / "out.jsonl"
    out.write_text("what was there before\n")
    monkeypatch.setattr("oorl.training.reference_file.GROUPS_AT_ONCE", 2)
    scored: list[str] = []
    inner = reference_file.score_missing

    def watched(policy, groups, journal, *args, **kwargs) -> int:
        if len(scored) == 4:
            raise KeyboardInterrupt
        missing = [group.group_id for group in groups if group.digests[0] not in journal.scores]
        scored.extend(missing)
        return inner(policy, groups, journal, *args, **kwargs)

    monkeypatch.setattr("oorl.training.reference_file.score_missing", watched)
    command = ["data", "reference", str(path), "--model", str(model), "--device", "cpu", "--out", str(out)]
    assert main(command) == 130
    assert out.read_text() == "what was there before\n"
    with journal_of(out).open("a") as handle:
        handle.write('{"key": "cut sho')
    scored.append("an interrupt")  # so that the count no longer stops it
    assert main(command) == 0
    assert scored == ["group-1", "group-2", "group-3", "group-4", "an interrupt", "group-5"]
    whole = tmp_path / "whole.jsonl"
    monkeypatch.undo()
    assert main([*command[:-1], str(whole)]) == 0
    for one, other in zip(read_ir_groups(out), read_ir_groups(whole), strict=True):
        (key,) = other.ref_scores
        assert scores_of(one, key) == pytest.approx(scores_of(other, key), abs=SUM_TOLERANCE, rel=0)


def test_members_beyond_the_budget_get_no_score(model: Path, tmp_path: Path) -> None:
    records = tiny.tiny_groups(2)
    long = {**records[0].losers[0], "ir": records[0].losers[0]["ir"] + "\n; " + "x" * 500}
    records[0] = dataclasses.replace(records[0], losers=(long, *records[0].losers[1:]))
    path = written(tmp_path / "g.jsonl", records)
    found = score_file(path, model, path, WORLD, max_tokens=300)
    assert (found.members, found.with_score) == (10, 9)
    assert set(read_ir_groups(path)[0].ref_scores[found.key]) == {"w0", "w1", "l1", "l2"}


def test_a_journal_keeps_other_keys_and_drops_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for key in ("a", "b"):
        with ScoreJournal(path, key, WORLD) as journal:
            journal.add({f"{key}1": -1.5})
            journal.add({f"{key}2": -2.5})
    path.write_bytes(path.read_bytes()[:-9])
    with ScoreJournal(path, "b", WORLD) as journal:
        assert journal.scores == {"b1": -1.5}
        journal.add({"b3": -3.5})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["key"], row["scores"]) for row in rows] == [
        ("a", {"a1": -1.5}), ("a", {"a2": -2.5}), ("b", {"b1": -1.5}), ("b", {"b3": -3.5}),
    ]  # fmt: skip


def test_scores_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    class Broken(World):
        def gather(self, value: dict) -> list:
            return [dict.fromkeys(value, math.nan)]

    group = preference_group(tiny.tiny_groups(1)[0], Prompter(tiny.byte_tokenizer()))
    with ScoreJournal(tmp_path / "j", "key", WORLD) as journal, pytest.raises(UserError, match=r"group-1.*no finite"):
        score_missing(Policy(tiny.tiny_model()), [group], journal, Budget(), Broken(), length_normalize=False)
    assert not (tmp_path / "j").exists()


def test_the_key_follows_weights_template_and_normalization(tmp_path: Path) -> None:
    first, second = tiny.save_tiny_model(tmp_path / "a", 0), tiny.save_tiny_model(tmp_path / "b", 1)
    plain, chat = Prompter(tiny.byte_tokenizer()), Prompter(tiny.byte_tokenizer(chat=True))
    keys = [
        reference_key(first, plain, length_normalize=False, device=CPU),
        reference_key(second, plain, length_normalize=False, device=CPU),
        reference_key(first, chat, length_normalize=False, device=CPU),
        reference_key(first, plain, length_normalize=True, device=CPU),
        reference_key(first, plain, length_normalize=False, device=torch.device("cuda")),
    ]
    assert len(set(keys)) == 5
    assert reference_key(first, plain, length_normalize=False, device=CPU) == keys[0]


def trained(model: Path, groups: Path, out: Path, *assignments: str) -> Run:
    return set_up(
        load_config(
            "cpu_tiny",
            [
                f"model.path={model}",
                f"data.groups={groups}",
                f"training.out_dir={out}",
                "objective.w_rl=0",
                "training.micro_batch_tokens=16384",
                "training.row_tokens=1024",
                *assignments,
            ],
        ),
        WORLD,
        resume=False,
    )


def loss_and_gradient(run: Run, groups: list[PreferenceGroup]) -> tuple[float, torch.Tensor]:
    run.policy.zero_grad()
    metrics = StepMetrics()
    backward_gepo_loss(run.policy, groups, override(run.config, ["objective.w_gepo=1"]), WORLD, metrics)
    gradient = torch.cat([parameter.grad.flatten() for parameter in run.policy.parameters()])
    return metrics.merged(WORLD)["loss/gepo"], gradient.clone()


def test_a_run_on_a_scored_file_scores_nothing_and_learns_the_same(model: Path, tmp_path: Path, monkeypatch) -> None:
    records = tiny.tiny_groups(4)
    plain, cached = written(tmp_path / "plain.jsonl", records), tmp_path / "cached.jsonl"
    score_file(plain, model, cached, WORLD, max_tokens=1024)
    without = trained(model, plain, tmp_path / "without")
    assert (tmp_path / "without" / "ref_scores.jsonl").exists()

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the reference is scored though its scores are known")

    monkeypatch.setattr("oorl.training.reference.score_members", never)
    with_scores = trained(model, cached, tmp_path / "with")
    assert not (tmp_path / "with" / "ref_scores.jsonl").exists()
    # The same members, packed alike: the same bits.
    assert [group.ref_scores for group in with_scores.groups] == [group.ref_scores for group in without.groups]
    moved = tiny.tiny_model(seed=5).state_dict()  # another policy than the reference, or every log-ratio is zero
    for run in (without, with_scores):
        run.policy.model.load_state_dict(moved)
    one, other = (loss_and_gradient(run, list(run.groups)) for run in (without, with_scores))
    assert one[0] == other[0] and torch.equal(one[1], other[1]) and one[1].any()


def test_the_loss_follows_what_the_record_says(model: Path, tmp_path: Path) -> None:
    """A poisoned score reaches the loss, at the place that eq. 6-9 give it."""
    path, poisoned = tmp_path / "g.jsonl", tmp_path / "poisoned.jsonl"
    key = score_file(written(path, tiny.tiny_groups(1)), model, path, WORLD, max_tokens=1024).key
    (record,) = read_ir_groups(path)
    entry = record.ref_scores[key]["l1"]
    entries = {**record.ref_scores[key], "l1": {**entry, "score": entry["score"] - 30.0}}
    written(poisoned, [dataclasses.replace(record, ref_scores={key: entries})])
    run = trained(model, poisoned, tmp_path / "run", "gepo.beta=0.1")
    loss, _ = loss_and_gradient(run, list(run.groups))
    # The policy is the reference, so all log-ratios are 0 but l1's, which is 30: delta = 0.1 (0 - 30 / 3).
    assert loss == pytest.approx(math.log1p(math.exp(1.0)), abs=1e-3)


def test_a_changed_member_is_scored_again(model: Path, tmp_path: Path) -> None:
    """The record still has a score under the member's name, of another text."""
    path = written(tmp_path / "g.jsonl", tiny.tiny_groups(2))
    score_file(path, model, path, WORLD, max_tokens=1024)
    first, second = read_ir_groups(path)
    ir = first.winners[1]["ir"].replace("nsw", "nuw nsw")
    stale = dataclasses.replace(first, winners=(first.winners[0], {**first.winners[1], "ir": ir}))
    run = trained(model, written(tmp_path / "stale.jsonl", [stale, second]), tmp_path / "run")
    for group, expected in zip(run.groups, expected_scores(model, [stale, second]), strict=True):
        assert group.ref_scores == pytest.approx(tuple(expected.values()), abs=SUM_TOLERANCE, rel=0)
    rows = [json.loads(line) for line in (tmp_path / "run" / "ref_scores.jsonl").read_text().splitlines()]
    assert {digest for row in rows for digest in row["scores"]} == set(run.groups[0].digests)


def test_without_kl_one_model_is_loaded_and_no_reference_held(model: Path, tmp_path: Path, monkeypatch) -> None:
    loaded: list[Policy] = []
    inner = setup.load_policy

    def counted(*args: object, **kwargs: object) -> Policy:
        loaded.append(inner(*args, **kwargs))
        return loaded[-1]

    monkeypatch.setattr("oorl.training.setup.load_policy", counted)
    path = written(tmp_path / "g.jsonl", tiny.tiny_groups(2))
    run = trained(model, path, tmp_path / "run")
    assert loaded == [run.policy] and run.reference is None


def test_unknown_scores_are_the_policys_and_known_ones_are_not_asked(tmp_path: Path) -> None:
    prompter = Prompter(tiny.byte_tokenizer())
    groups = [preference_group(record, prompter) for record in tiny.tiny_groups(3)]
    policy, other = Policy(tiny.tiny_model(0)), Policy(tiny.tiny_model(1))

    def found(scorer: Policy, key: str, stored: dict[str, float], path: Path) -> list[PreferenceGroup]:
        with ScoreJournal(path, key, WORLD) as journal:
            return with_reference(scorer, groups, stored, journal, Budget(), WORLD, length_normalize=False)

    cache = tmp_path / "ref_scores.jsonl"
    first = found(policy, "key", {}, cache)
    for group in first:
        expected = [log_prob(policy, group.prompt, member) for member in group.members]
        assert group.ref_scores == pytest.approx(expected, abs=SUM_TOLERANCE, rel=0)
    assert found(other, "key", {}, cache) == first  # from the file
    assert found(other, "new key", {}, cache) != first
    stored = {digest: -1.0 for group in groups for digest in group.digests}
    assert all(group.ref_scores == (-1.0,) * 5 for group in found(other, "third", stored, tmp_path / "unused.jsonl"))
    assert not (tmp_path / "unused.jsonl").exists()


@pytest.mark.parametrize(
    ("ref_scores", "words"),
    [
        ([], "ref_scores: expected an object"),
        ({"k": -1.0}, "ref_scores.k: expected an object"),
        ({"k": {"w0": -1.0}}, "ref_scores.k.w0: expected an object with a finite score"),
        ({"k": {"w0": {"score": True, "tokens": "ab"}}}, "ref_scores.k.w0"),
        ({"k": {"w0": {"score": math.nan, "tokens": "ab"}}}, "ref_scores.k.w0"),
        ({"k": {"w0": {"score": -1.0}}}, "ref_scores.k.w0"),
        ({"k": {"w0": {"score": -(10**400), "tokens": "ab"}}}, "ref_scores.k.w0"),
        ({"k": {"w0": {"score": -math.inf, "tokens": "ab"}}}, "ref_scores.k.w0"),
    ],
)
def test_a_malformed_score_is_named(ref_scores: object, words: str) -> None:
    row = {**tiny.tiny_groups(1)[0].to_json(), "ref_scores": ref_scores}
    with pytest.raises(ValueError, match=words):
        group_from_json(row)


@pytest.mark.parametrize(
    ("extra", "status", "words"),
    [
        (["--model", "nowhere"], 1, "nowhere: is no directory"),
        (["--max-tokens", "1"], 2, "--max-tokens"),
        (["--template", "chat"], 1, "no chat template"),
        (["--device", "cuda"], 2, "no CUDA device"),
        (["--max-tokens", "9000"], 1, "lower --max-tokens"),
    ],
)
def test_what_a_person_gets_wrong(
    extra: list[str], status: int, words: str, model: Path, tmp_path: Path, capfd, monkeypatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (record,) = tiny.tiny_groups(1)
    long = {"id": "l0", "ir": "; " + "x" * 5000}
    path = written(tmp_path / "g.jsonl", [dataclasses.replace(record, losers=(long, *record.losers[1:]))])
    before = path.read_bytes()
    assert main(["data", "reference", str(path), "--model", str(model), *extra]) == status
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("oorl data:")]
    assert len(said) == 1 and words in said[0]
    assert path.read_bytes() == before


def test_a_file_without_groups_is_told_before_a_model_is_loaded(tmp_path: Path, capfd) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["data", "reference", str(tmp_path / "empty.jsonl"), "--model", "nowhere"]) == 1
    assert "holds no groups" in capfd.readouterr().err
