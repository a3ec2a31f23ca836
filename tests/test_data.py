"""Records and ``oorl data``: every bad row is named by file, line and field, and nothing is dropped in silence."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from ir_rows import GROUP, loser

from oorl.cli import main
from oorl.data.command import generate_problems, language_pairs
from oorl.data.ir_groups import IRGroup, group_from_json, read_ir_groups, write_ir_groups
from oorl.data.jsonl import read_jsonl, write_jsonl
from oorl.data.problems import Limits, Problem, problem_from_json, read_problems, validate_tests, write_problems
from oorl.errors import UsageError, UserError
from oorl.programs import TINY, canonical, generate_program
from oorl.types import Signature, Type, contains_large_int

ROW = {
    "task_id": "t1",
    "source_lang": "python",
    "source_code": "def f(a):\n    return a\n",
    "target_lang": "cpp",
    "target_decl": "long long f(long long a)",
    "entry": "f",
    "mode": "call",
    "signature": {"params": [["a", "int"]], "returns": "int"},
    "tests": [{"args": [1], "returns": 1}],
}


def without(row: dict, name: str) -> dict:
    return {key: value for key, value in row.items() if key != name}


def written(path, *rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_problems_survive_writing_and_reading(tmp_path):
    params = (("xs", Type.parse("list[int]")), ("s", Type.parse("optional[str]")))
    signature = Signature(params, Type.parse("dict[str, float]"))
    problem = Problem(
        "t", "python", "code \u00e9", "java", "decl", "f", "call", ({"args": [[1], None], "accept": [{"a": 1.5}]},),
        signature,
        {"kind": "float", "rel": 1e-6, "abs": 0.0}, Limits(2.0, 64), "plain", {"dataset": "d", "row": 3},
    )  # fmt: skip
    assert write_problems(tmp_path / "p.jsonl", [problem]) == 1
    assert read_problems(tmp_path / "p.jsonl") == [problem]
    assert validate_tests(problem) is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (without(ROW, "task_id"), "task_id: expected text, found None"),
        ({**ROW, "target_lang": 3}, "target_lang: expected text, found 3"),
        ({**ROW, "mode": "file"}, "mode: 'file' is neither 'call' nor 'stdin'"),
        ({**ROW, "schema": "oorl.translation/9"}, "schema: 'oorl.translation/9' is not 'oorl.translation/1'"),
        ({**ROW, "signature": {"params": [["a", "long"]], "returns": "int"}}, "signature: 'long' is not a type"),
        ({**ROW, "signature": {"params": [["a b", "int"]], "returns": "int"}}, "signature: parameter name 'a b'"),
        (without(ROW, "signature"), "signature: expected"),
        ({**ROW, "tests": {}}, "tests: expected a list of objects"),
        ({**ROW, "tests": [1]}, "tests: expected a list of objects"),
        ({**ROW, "comparator": {"kind": "close"}}, "comparator: expected"),
        ({**ROW, "limits": {"time": 3}}, "limits: expected time_s, memory_mb and wall_s"),
        ({**ROW, "limits": {"time_s": 0}}, "limits.time_s: must be a number above zero, found 0"),
    ],
)
def test_a_malformed_row_is_named_by_file_line_and_field(row, reason, tmp_path, capsys):
    path = written(tmp_path / "p.jsonl", ROW, row)
    with pytest.raises(UserError) as error:
        read_problems(path)
    assert str(error.value).startswith(f"{path}:2: {reason}")
    assert main(["data", "check", path]) == 1
    output = capsys.readouterr().out
    assert f"{path}:2: {reason}" in output and "2 rows, 1 kept, 1 refused" in output


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ([], "tests: there are none"),
        ([{"args": [], "returns": 1}], "tests[0].args: expected a list of 1 values"),
        ([{"args": [1], "returns": 1}, {"args": [True], "returns": 1}], "tests[1].args: True for a is not of type int"),
        ([{"args": [1]}], "tests[0].returns: neither 'returns' nor 'accept'"),
        ([{"args": [1], "accept": []}], "tests[0].accept: expected a list"),
        ([{"args": [1], "returns": 1.5}], "tests[0].returns: 1.5 is not of type int"),
        ([{"args": [1], "returns": 2**63}], "tests[0].returns: 9223372036854775808 is not of type int"),
    ],
)
def test_tests_that_cannot_decide_are_named(tests, reason, tmp_path, capsys):
    row = {**ROW, "tests": tests}
    assert validate_tests(problem_from_json(row)).startswith(reason)
    assert main(["data", "check", written(tmp_path / "p.jsonl", row)]) == 1
    assert reason in capsys.readouterr().out


def test_stdin_tests_are_text():
    row = {**without(ROW, "signature"), "mode": "stdin", "tests": [{"stdin": "1\n", "stdout": "1\n"}]}
    assert validate_tests(problem_from_json(row)) is None
    row["tests"] = [{"stdin": "1\n", "stdout": 1}]
    assert validate_tests(problem_from_json(row)) == "tests[0].stdout: expected text, found 1"


def test_the_documented_problem_is_one(tmp_path, capsys):
    page = (Path(__file__).parents[1] / "docs" / "problems.md").read_text()
    row = json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])
    assert main(["data", "check", written(tmp_path / "p.jsonl", row)]) == 0, capsys.readouterr().out
    assert all(f"`{name}`" in page for name in problem_from_json(row).to_json() if name != "schema")


def test_integers_beyond_javascript_are_refused_for_it_alone(tmp_path, capsys):
    tests = [{"args": [2**53 + 1], "returns": 1}]
    rows = [{**ROW, "tests": tests}, {**ROW, "tests": tests, "task_id": "t2", "target_lang": "javascript"}]
    assert main(["data", "check", written(tmp_path / "p.jsonl", *rows)]) == 1
    output = capsys.readouterr().out
    assert "p.jsonl:2: tests[0].args: an integer exceeds 9007199254740992" in output and "1 kept, 1 refused" in output
    large = Type.parse("dict[str, list[int]]")
    assert contains_large_int({"a": [1, -(2**53) - 1]}, large) and not contains_large_int({"a": [2**53]}, large)
    assert not contains_large_int([1e300, 2**60, None], Type.parse("list[optional[float]]"))  # floats are floats


def test_ids_are_unique(tmp_path, capsys):
    path = written(tmp_path / "p.jsonl", ROW, ROW)
    with pytest.raises(UserError, match="p.jsonl:2: task_id: 't1' stands on line 1 too; rename one"):
        read_problems(path)
    assert main(["data", "check", path]) == 1
    assert "task_id: 't1' stands on line 1 too" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1}\n{"a": \n', ":2: not valid JSON"),
        (b"[1]\n", ":1: a list, not a JSON object"),
        (b'{"a": 1}\n\xff\xfe\n', ":2: not UTF-8"),
    ],
)
def test_unreadable_lines_are_named(text, reason, tmp_path):
    (tmp_path / "p.jsonl").write_bytes(text)
    with pytest.raises(UserError) as error:
        list(read_jsonl(tmp_path / "p.jsonl"))
    assert str(error.value).startswith(str(tmp_path / "p.jsonl") + reason)


def test_missing_and_empty_files_say_what_to_do(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path / "none.jsonl")]) == 1
    assert "cannot read" in capsys.readouterr().err
    (tmp_path / "empty.jsonl").write_text("\n")
    assert main(["data", "check", str(tmp_path / "empty.jsonl")]) == 1
    assert "holds no rows" in capsys.readouterr().err
    with pytest.raises(UserError, match="holds no problems"):
        read_problems(tmp_path / "empty.jsonl")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_jsonl(tmp_path / "p.jsonl", [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        write_jsonl(tmp_path / "p.jsonl", rows())
    assert [row for _, row in read_jsonl(tmp_path / "p.jsonl")] == [{"a": 1}]
    with pytest.raises(UserError, match="cannot write"):
        write_jsonl(tmp_path / "p.jsonl" / "q.jsonl", [])


def test_groups_survive_writing_and_reading(tmp_path, capsys):
    group = group_from_json(GROUP)
    assert isinstance(group, IRGroup) and len(group.winners) == 2
    write_ir_groups(tmp_path / "g.jsonl", [group])
    assert read_ir_groups(tmp_path / "g.jsonl") == [group]
    assert main(["data", "check", str(tmp_path / "g.jsonl")]) == 0
    assert "IR groups: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**GROUP, "winners": GROUP["winners"][:1]}, "TooFewWinners: winners: 1 of them; a group needs at least 2"),
        ({**GROUP, "losers": []}, "NoLosers: losers: 0 of them"),
        ({**GROUP, "losers": [{"id": "l0"}]}, "MissingField: losers[0].ir: expected text"),
        ({**GROUP, "losers": [loser(0, "a")]}, "WinnerLoserOverlap: losers[0].ir: the same stands in winners[0].ir"),
        ({**GROUP, "source": {"language": "c", "entry": "f"}}, "MissingField: source.code: expected text"),
        (without(GROUP, "group_id"), "MissingField: group_id: expected text"),
    ],
)
def test_a_malformed_group_is_named_by_file_line_and_field(row, reason, tmp_path, capsys):
    path = written(tmp_path / "g.jsonl", row)
    with pytest.raises(UserError) as error:
        read_ir_groups(path)
    assert str(error.value).startswith(f"{path}:1: {reason}")
    assert main(["data", "check", path]) == 1
    assert f"{path}:1: {reason}" in capsys.readouterr().out


def test_generated_problems_pass_the_check(tmp_path, capsys):
    path = str(tmp_path / "p.jsonl")
    generate = [
        "data",
        "generate",
        "--preset",
        "tiny",
        "--count",
        "22",
        "--seed",
        "3",
        "--split",
        "test",
        "--out",
        path,
    ]
    assert main(generate) == 0
    assert "22 problems kept" in capsys.readouterr().out
    problems = read_problems(path)
    assert len(problems) == 22 and {problem.origin["split"] for problem in problems} == {"test"}
    assert all(len(problem.tests) == 8 for problem in problems)
    pairs = Counter((problem.source_lang, problem.target_lang) for problem in problems)
    assert len(pairs) == 10 and set(pairs.values()) <= {2, 3}
    assert main(["data", "check", path]) == 0
    assert "22 rows, 22 kept, 0 refused" in capsys.readouterr().out
    assert main([*generate[:-1], str(tmp_path / "again.jsonl")]) == 0
    assert (tmp_path / "again.jsonl").read_text() == (tmp_path / "p.jsonl").read_text()


def test_programs_a_language_cannot_hold_are_counted():
    refused: Counter[str] = Counter()
    problems = list(islice(generate_problems(TINY, [("python", "cpp")], 0, 4, "train", refused), 30))
    rows = [problem.origin["row"] for problem in problems]
    forms = [canonical(generate_program(row, TINY)) for row in rows]
    assert len(set(forms)) == 30
    assert rows[-1] - rows[0] + 1 == 30 + refused.total()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--count", "0"], "--count and --tests must be at least 1"),
        (["--count", "1", "--sources", "cobol"], "--sources: 'cobol' is none of"),
        (["--count", "1", "--sources", "cpp", "--targets", "cpp"], "leave no pair of two languages"),
    ],
)
def test_wrong_usage_is_told(arguments, reason, tmp_path, capsys):
    assert main(["data", "generate", "--out", str(tmp_path / "p.jsonl"), *arguments]) == 2
    assert reason in capsys.readouterr().err
    with pytest.raises(UsageError):
        language_pairs(["c"], ["c"])
