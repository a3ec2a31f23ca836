"""Tokens of IR groups: prompts by mode, the length budget's rule, statistics, and ``oorl data tokens``.

The tokenizer has a token a byte and an end token, so every length is known from the text.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import weakref
from collections import Counter
from pathlib import Path

import pytest
import tiny

from oorl.cli import main
from oorl.config import Config, load_config
from oorl.data.ir_groups import IRGroup, read_ir_groups, stream_ir_groups, write_ir_groups
from oorl.errors import UserError
from oorl.evaluation.ranking import score_groups
from oorl.policy import token_statistics
from oorl.policy.length_budget import LengthBudget, with_members
from oorl.policy.model import Policy
from oorl.policy.preference import PreferenceGroup, preference_group
from oorl.policy.prompts import Prompter, ir_text
from oorl.policy.scoring import Budget
from oorl.policy.token_statistics import measure, quantile
from oorl.training.mesh import World
from oorl.training.setup import set_up

PROMPTER = Prompter(tiny.byte_tokenizer())


def group_of(winners: list[int], losers: list[int], code: str = "int f(void);", origin: str = "t 1") -> IRGroup:
    """A group whose members' IR has these many bytes; every text is another one."""
    members = [chr(97 + place) * size for place, size in enumerate([*winners, *losers])]
    return IRGroup(
        group_id=f"{origin}/{winners}/{losers}",
        source={"language": "c", "code": code, "entry": "f", "origin": origin},
        signature={},
        inputs={},
        toolchain={},
        naming="n",
        winners=tuple({"id": f"w{k}", "ir": ir} for k, ir in enumerate(members[: len(winners)])),
        losers=tuple({"id": f"l{k}", "ir": ir} for k, ir in enumerate(members[len(winners) :])),
    )


def prompt_tokens(code: str = "int f(void);") -> int:
    return len(f"Compile C to LLVM IR.\n```c\n{code}\n```\n".encode())


ANSWER = len("```llvm\n\n```") + 1  # what an answer holds beside its IR: the fence and the end token


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    tiny.byte_tokenizer().save_pretrained(directory)
    return directory


def written(path: Path, groups: list[IRGroup]) -> str:
    write_ir_groups(path, groups)
    return str(path)


def test_a_function_is_asked_for_by_name_and_a_program_whole() -> None:
    function = tiny.tiny_groups(1)[0]
    program = dataclasses.replace(function, signature={"ret": "i32", "params": [], "mode": "stdin"})
    assert ir_text(program, "plain").startswith("Compile C program to LLVM IR.\n```c\n")
    assert ir_text(function, "plain").startswith("Compile C to LLVM IR.\n```c\n")
    chat = ir_text(function, "chat")
    assert chat.startswith("Compile the function `f` of this C code to LLVM IR") and "standard input" not in chat
    chat = ir_text(program, "chat")
    assert chat.startswith("Compile this C program, which reads standard input") and "`f`" not in chat
    for text in (ir_text(function, "chat"), chat):
        assert "```c\nint f(int a) { return a + 1; }\n```" in text and "tagged `llvm` and nothing else." in text


def test_a_group_is_the_prompt_and_every_members_answer() -> None:
    record = tiny.tiny_groups(1)[0]
    group = preference_group(record, PROMPTER)
    assert tuple(group.prompt) == PROMPTER.ir(record)
    assert len(group.prompt) == prompt_tokens("int f(int a) { return a + 1; }")
    for member, tokens in zip((*record.winners, *record.losers), group.members, strict=True):
        assert tuple(tokens) == PROMPTER.response(member["ir"], "llvm")
        assert len(tokens) == len(member["ir"].encode()) + ANSWER


@pytest.mark.parametrize("ir", ["", "é" * 40, "x\n" * 3000, "`" * 3])
def test_answers_are_tokenized_together_as_alone(ir: str) -> None:
    assert PROMPTER.responses([ir, "ret", ir], "llvm") == [PROMPTER.response(text, "llvm") for text in (ir, "ret", ir)]


def test_a_language_without_a_name_is_told_by_group() -> None:
    record = group_of([1, 1], [1])
    record = dataclasses.replace(record, source={**record.source, "language": "cobol"})
    with pytest.raises(UserError, match=r"^group .*: source.language: 'cobol' is not one of python"):
        preference_group(record, PROMPTER)


def kept_sizes(winners: list[int], losers: list[int], most: int) -> tuple[list[int], list[int]] | None:
    """The rule, written out: members within the budget, if two winners and a loser are."""
    kept = [size for size in winners if size <= most], [size for size in losers if size <= most]
    return kept if len(kept[0]) >= 2 and len(kept[1]) >= 1 else None


def test_the_rule_on_many_groups() -> None:
    """Lengths drawn at random against the rule written out; every member is accounted for, on its side."""
    draw = random.Random(0)
    for _ in range(200):
        prompt, most = draw.randint(1, 5), draw.randint(4, 14)
        budget, expected = LengthBudget(most), Counter()
        for _ in range(5):
            winners = [draw.randint(1, 12) for _ in range(draw.randint(2, 5))]
            losers = [draw.randint(1, 12) for _ in range(draw.randint(1, 5))]
            members = tuple((0,) * size for size in (*winners, *losers))
            group = PreferenceGroup("g", (0,) * prompt, members, len(winners))
            kept, left = budget.keep(group), kept_sizes(winners, losers, most - prompt)
            expected["dropped"] += left is None
            expected["kept"] += sum(map(len, left)) if left else 0
            if left is None:
                assert kept is None
            else:
                lengths = [len(member) for member in kept.members]
                assert (lengths[: kept.num_winners], lengths[kept.num_winners :]) == left
        assert budget.groups == 5 and budget.groups_dropped == expected["dropped"]
        assert budget.winners.kept + budget.losers.kept == expected["kept"]


def test_counts_by_side_and_what_the_smallest_group_needs() -> None:
    budget = LengthBudget(10)
    group = PreferenceGroup("g", (0,) * 3, tuple((0,) * size for size in (2, 9, 7, 8, 7)), 3)  # fits up to 7
    assert budget.fit(group) == (0, 2, 4)
    budget.fit(PreferenceGroup("h", (0,) * 3, tuple((0,) * size for size in (2, 9, 7, 6)), 2))  # one winner fits
    assert budget.to_json() == {
        "max_tokens": 10, "groups": 2, "groups_dropped": 1, "least": 10,
        "winners": {"seen": 5, "too_long": 2, "with_group": 1},
        "losers": {"seen": 4, "too_long": 1, "with_group": 2},
    }  # fmt: skip
    assert "2 of 5 winners and 1 of 4 losers" in str(budget) and "1 of 2 groups" in str(budget)
    assert "with 3 members that fit" in str(budget)


def test_a_record_keeps_the_members_and_scores_it_is_told_to() -> None:
    record = dataclasses.replace(
        group_of([1, 2, 3], [4, 5]),
        ref_scores={"k": {name: {"score": -1.0, "tokens": "a"} for name in ("w0", "w1", "w2", "l0", "l1")}},
    )
    left = with_members(record, (0, 2, 4))
    assert [member["id"] for member in (*left.winners, *left.losers)] == ["w0", "w2", "l1"]
    assert set(left.ref_scores["k"]) == {"w0", "w2", "l1"}
    assert dataclasses.replace(record, winners=left.winners, losers=left.losers, ref_scores=left.ref_scores) == left


def test_the_trainer_drops_members_by_the_rule_and_records_it(tmp_path: Path, capsys) -> None:
    model = tiny.save_tiny_model(tmp_path / "model")
    groups = [group_of([50, 60, 300], [50, 400, 70]), group_of([50, 300], [50]), group_of([20, 30], [40])]
    path = written(tmp_path / "g.jsonl", groups)
    longest = prompt_tokens() + 70 + ANSWER  # exactly the longest that fits
    settings = [f"model.path={model}", f"data.groups={path}", "objective.w_rl=0", f"gepo.max_tokens={longest}"]
    config: Config = load_config("cpu_tiny", [*settings, f"training.out_dir={tmp_path / 'run'}"])
    run = set_up(config, World(), resume=False)
    sizes = [[len(member) - ANSWER for member in group.members] for group in run.groups]
    assert sizes == [[50, 60, 50, 70], [20, 30, 40]] and [group.num_winners for group in run.groups] == [2, 2]
    assert all(len(group.ref_scores) == len(group.members) for group in run.groups)
    record = json.loads((tmp_path / "run" / "groups.json").read_text())
    assert record == {
        "file": path, "max_tokens": longest, "groups": 3, "groups_dropped": 1,
        "winners": {"seen": 7, "too_long": 2, "with_group": 1},
        "losers": {"seen": 5, "too_long": 1, "with_group": 1},
        "least": prompt_tokens() + 40 + ANSWER,
    }  # fmt: skip
    assert f"{path}: 2 of 7 winners and 1 of 5 losers take more than {longest} tokens" in capsys.readouterr().out


def test_ranking_scores_what_the_budget_leaves() -> None:
    policy = Policy(tiny.tiny_model())
    groups = [group_of([50, 60, 300], [50, 400, 70]), group_of([50, 300], [50])]
    whole = score_groups(policy, PROMPTER, groups, Budget())
    length = LengthBudget(prompt_tokens() + 70 + ANSWER)
    (left,) = score_groups(policy, PROMPTER, groups, Budget(), length)
    assert left.winners == pytest.approx(whole[0].winners[:2], abs=1e-5)  # packed otherwise: fp32's roundings
    assert left.losers == pytest.approx((whole[0].losers[0], whole[0].losers[2]), abs=1e-5)
    assert length.groups_dropped == 1


def row_of(table: str, name: str) -> list[float]:
    return [float(word) for word in re.search(rf"^{re.escape(name)}  +(.*)$", table, re.M)[1].split()]


def test_the_table_counts_bytes(tokenizer: Path, tmp_path: Path, capsys) -> None:
    groups = [
        group_of([10, 20], [30, 41]),
        group_of([100, 50], [60], code="int g(void) { return 7; }", origin="musl x"),
    ]
    path, out = written(tmp_path / "g.jsonl", groups), tmp_path / "kept.jsonl"
    first, second = prompt_tokens(), prompt_tokens("int g(void) { return 7; }")
    budget = first + 30 + ANSWER
    command = ["data", "tokens", path, "--tokenizer", str(tokenizer), "--max-tokens", str(budget), "--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert row_of(said, "prompts") == [2, round((first + second) / 2, 1), first, second, second]
    assert row_of(said, "winners") == [4, 45 + ANSWER, 20 + ANSWER, 100 + ANSWER, 100 + ANSWER]
    assert row_of(said, "losers") == [3, round((30 + 41 + 60) / 3 + ANSWER, 1), 41 + ANSWER, 60 + ANSWER, 60 + ANSWER]
    sums = [first + 10 + ANSWER, first + 20 + ANSWER, second + 50 + ANSWER, second + 100 + ANSWER]
    assert row_of(said, "all: winners") == [4, round(sum(sums) / 4, 1), sums[1], sums[3], sums[3], 2]
    short, long = first + 30 + ANSWER, first + 41 + ANSWER
    assert row_of(said, "c t: losers") == [2, first + 35.5 + ANSWER, short, long, long, 1]
    assert row_of(said, "c musl: losers")[-1] == 1 and row_of(said, "c musl: winners")[-1] == 2
    assert "2 of 4 winners and 2 of 3 losers" in said and "1 of 2 groups" in said
    answers = 60 + 3 * ANSWER
    fed = f"{answers} tokens are scored, {first + answers - 3} are fed"
    assert f"an epoch: 1 groups; {fed}" in said and f"({3 * first + answers - 3} where each has its own)" in said
    assert read_ir_groups(out) == [with_members(groups[0], (0, 1, 2))]


def test_quantiles_are_those_of_the_sorted_list() -> None:
    draw = random.Random(0)
    for count in (1, 2, 9, 10, 11, 100):
        values = sorted(draw.randint(0, 30) for _ in range(count))
        for tenths in (1, 5, 9, 10):
            assert quantile(Counter(values), tenths / 10) == values[-(-count * tenths // 10) - 1]


def test_a_file_that_fits_comes_out_as_it_was(tokenizer: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "g.jsonl", tiny.tiny_groups(5))
    assert main(["data", "tokens", path, "--tokenizer", str(tokenizer), "--out", str(tmp_path / "out.jsonl")]) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == Path(path).read_bytes()


def test_ten_thousand_groups_are_never_held_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every count against sums over the sizes drawn; at no time are more than a few records alive."""
    draw, sizes = random.Random(0), []

    def drawn():
        for number in range(10_000):
            winners, losers = ([draw.randint(1, 60) for _ in range(draw.randint(low, 4))] for low in (2, 1))
            sizes.append((winners, losers))
            yield group_of(winners, losers, origin=f"origin{number % 30} {number}")

    path, alive, most = tmp_path / "g.jsonl", 0, 0
    assert write_ir_groups(path, drawn()) == 10_000

    def watched(source: Path):
        nonlocal alive, most
        for record in stream_ir_groups(source):
            alive, most = alive + 1, max(most, alive + 1)
            weakref.finalize(record, forget)
            yield record

    def forget() -> None:
        nonlocal alive
        alive -= 1

    monkeypatch.setattr(token_statistics, "stream_ir_groups", watched)
    room = 40
    found = measure(path, PROMPTER, prompt_tokens() + room + ANSWER, tmp_path / "kept.jsonl")
    left = [kept for pair in sizes if (kept := kept_sizes(*pair, room)) is not None]
    assert most <= 3
    assert found.budget.groups == 10_000 and found.budget.groups_dropped == 10_000 - len(left) > 1000
    assert found.budget.winners.kept == sum(len(winners) for winners, _ in left)
    assert found.budget.losers.kept == sum(len(losers) for _, losers in left)
    assert found.epoch.answers == sum(size + ANSWER for pair in left for side in pair for size in side)
    assert found.whole.winners.members == Counter(size + ANSWER for winners, _ in sizes for size in winners)
    lines = [line.split() for line in found.table().splitlines()]
    parts = [line for line in lines if line[:1] == ["c"] and line[2] == "winners"]
    assert len(parts) == 20
    (rest,) = (line for line in lines if line[:3] == ["other", "origins:", "winners"])
    total = sum(int(line[3]) for line in parts) + int(rest[3])
    assert total == sum(len(winners) for winners, _ in sizes)
    assert sum(1 for _ in stream_ir_groups(tmp_path / "kept.jsonl")) == len(left)


@pytest.mark.parametrize(
    ("extra", "status", "words"),
    [
        (["--tokenizer", "nowhere"], 1, "nowhere: is no directory"),
        (["--max-tokens", "0"], 2, "--max-tokens is 0"),
        (["--template", "chat"], 1, "no chat template; use 'plain'"),
        (["--max-tokens", "60"], 1, "the shortest needs {needed}; raise --max-tokens"),
        (["--out", "/proc/no/kept.jsonl"], 1, "cannot write /proc/no/kept.jsonl"),
    ],
)
def test_mistakes_are_one_sentence(
    extra: list[str], status: int, words: str, tokenizer: Path, tmp_path: Path, capfd
) -> None:
    path = written(tmp_path / "g.jsonl", [group_of([10, 20, 90], [30, 41])])
    assert main(["data", "tokens", path, "--tokenizer", str(tokenizer), *extra]) == status
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("oorl data:")]
    assert len(said) == 1 and words.format(needed=prompt_tokens() + 30 + ANSWER) in said[0]


def test_a_budget_that_keeps_nothing_leaves_the_file_that_was_there(tokenizer: Path, tmp_path: Path) -> None:
    path, out = written(tmp_path / "g.jsonl", [group_of([10, 20], [30])]), tmp_path / "kept.jsonl"
    out.write_text("before\n")
    command = ["data", "tokens", path, "--tokenizer", str(tokenizer), "--out", str(out), "--max-tokens", "20"]
    assert main(command) == 1 and out.read_text() == "before\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no groups"),
        ('{"schema": "oorl.translation/1"}\n', "schema: 'oorl.translation/1' is not"),
        ("{", ":1: not valid JSON"),
    ],
)
def test_a_file_without_groups(content: str, words: str, tokenizer: Path, tmp_path: Path, capfd) -> None:
    (tmp_path / "g.jsonl").write_text(content)
    assert main(["data", "tokens", str(tmp_path / "g.jsonl"), "--tokenizer", str(tokenizer)]) == 1
    assert words in capfd.readouterr().err


def test_a_directory_without_a_tokenizer(tmp_path: Path, capfd) -> None:
    path = written(tmp_path / "g.jsonl", [group_of([10, 20], [30])])
    assert main(["data", "tokens", path, "--tokenizer", str(tmp_path)]) == 1
    assert "has no config.json and no tokenizer_config.json; give a tokenizer directory" in capfd.readouterr().err
    tiny.tiny_model().save_pretrained(tmp_path)
    assert main(["data", "tokens", path, "--tokenizer", str(tmp_path)]) == 1
    assert "but no tokenizer's files; save the tokenizer there too" in capfd.readouterr().err
