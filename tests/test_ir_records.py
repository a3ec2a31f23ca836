"""Files of IR groups as records: every fault has a name, a line and a field; leaks show; noise makes no traceback."""

from __future__ import annotations

import copy
import json
import random
import tracemalloc
from pathlib import Path

import pytest
from fuzzing import DEEP
from ir_rows import GROUP, OUTCOMES, WITNESS, group_row, loser, winner

from oorl.cli import main
from oorl.data.group_checks import Seen, completeness, structure
from oorl.data.ir_groups import group_from_json, read_ir_groups
from oorl.errors import UserError


def changed(path: str, value: object = None) -> dict:
    """The group with one field set, or (None) left out; the path reads ``losers.0.witness.input``."""
    row = copy.deepcopy(GROUP)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = row
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return row


def written(path, *rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def fault_of(row: dict) -> str | None:
    try:
        structure(row)
        completeness(row)
    except ValueError as err:
        return str(err)
    return None


FAULTS = [
    ("schema", "oorl.ir_group/9", "SchemaVersion: schema: 'oorl.ir_group/9' is not 'oorl.ir_group/1'"),
    ("naming", None, "MissingField: naming: expected text, found nothing"),
    ("group_id", "", "MissingField: group_id: expected text, found none"),
    ("source", "int f(void);", "WrongType: source: expected an object, found 'int f(void);'"),
    ("source.code", 3, "WrongType: source.code: expected text, found 3"),
    ("source.sha256", None, "MissingField: source.sha256: expected text"),
    ("source.licence", None, "LicenceMissing: source.licence: give the SPDX name"),
    ("source.licence", "", "LicenceMissing: source.licence: give the SPDX name"),
    ("toolchain.llvm", None, "MissingField: toolchain.llvm: expected text"),
    ("split", None, "MissingField: split: expected text"),
    ("ref_scores", [1.5], "WrongType: ref_scores: expected an object, found [1.5]"),
    ("winners", GROUP["winners"][:1], "TooFewWinners: winners: 1 of them; a group needs at least 2"),
    ("losers", [], "NoLosers: losers: 0 of them; a group needs at least 1"),
    ("winners.1", [], "WrongType: winners[1]: expected an object, found []"),
    ("winners.1.check", None, "MissingField: winners[1].check: expected an object"),
    ("winners.0.n_insts", 2.5, "WrongType: winners[0].n_insts: expected a whole number, found 2.5"),
    ("winners.0.n_insts", True, "WrongType: winners[0].n_insts: expected a whole number, found True"),
    ("winners.1.ir", "a", "DuplicateIR: winners[1].ir: the same stands in winners[0].ir"),
    ("losers.0.ir", "b", "WinnerLoserOverlap: losers[0].ir: the same stands in winners[1].ir"),
    ("losers.0.id", "w0", "DuplicateId: losers[0].id: the same stands in winners[0].id"),
    ("losers.0.operators", "drop", "WrongType: losers[0].operators: expected a list, found 'drop'"),
    ("losers.0.kill_rate", 0, "WrongValue: losers[0].kill_rate: 0 is not above 0 and at most 1"),
    ("losers.0.kill_rate", 1.25, "WrongValue: losers[0].kill_rate: 1.25 is not above 0 and at most 1"),
    ("losers.0.kill_rate", float("nan"), "WrongType: losers[0].kill_rate: expected a number, found nan"),
    ("losers.0.bin", "hardest", "WrongValue: losers[0].bin: 'hardest' is none of hard, mid, easy"),
    ("losers.0.distance_nearest", -0.5, "WrongValue: losers[0].distance_nearest: -0.5 is not between 0 and 1"),
    ("losers.0.witness", None, "WitnessMissing: losers[0].witness: nothing shows that it is a loser"),
    ("losers.0.witness", "w", "WrongType: losers[0].witness: expected an object, found 'w'"),
    ("losers.0.witness.got", None, "MissingField: losers[0].witness.got: expected an object"),
    ("losers.0.witness.got", OUTCOMES[1], "WitnessMissing: losers[0].witness: expected and got are the same"),
    ("losers.0.witness.input", 2, "WrongValue: losers[0].witness.input: 2 is none of the 2 inputs"),
    ("losers.0.witness.input", -1, "WrongValue: losers[0].witness.input: -1 is none of the 2 inputs"),
    ("inputs.n", 3, "WrongValue: inputs: n 3, 2 args, 2 expected; all three are the number of inputs"),
    ("inputs.args", [["1"]], "WrongValue: inputs: n 2, 1 args, 2 expected"),
    ("inputs.args", [["1"], ["1", "2"]], "SignatureMismatch: inputs: expected 1 arguments"),
    ("inputs.args", [["1"], ["x"]], "SignatureMismatch: inputs: 'x' is no value of parameter a"),
    ("inputs.expected.1", "1", "WrongType: inputs.expected[1]: expected an object, found '1'"),
    ("signature.ret", "int", "SignatureMismatch: signature: "),
    ("signature.params.0.type", "i31", "SignatureMismatch: signature: "),
    ("signature.contract", "a in", "SignatureMismatch: contract: "),
    ("source.code", "\ud800", "WrongType: a text holds a lone surrogate, '\\ud800'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "fault"), FAULTS)
def test_every_fault_of_a_row_is_named(path, value, fault, tmp_path, capsys):
    row = changed(path, value)
    assert fault_of(row).startswith(fault)
    assert main(["data", "check", written(tmp_path / "g.jsonl", GROUP, {**row, "dedup_cluster": "other"})]) == 1
    said = capsys.readouterr().out
    assert f"g.jsonl:2: {fault}" in said and f"2 rows, 1 kept, 1 refused: {fault.split(':')[0]} (1)" in said


def test_every_kind_of_fault_is_documented():
    page = (Path(__file__).parents[1] / "docs" / "ir-groups.md").read_text()
    kinds = {fault.split(":")[0] for *_, fault in FAULTS} | {"ParseError", "SplitLeak", "LLVM", "WinnerMismatch"}
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in page] == []
    fields = {*GROUP, *GROUP["source"], *GROUP["inputs"], *GROUP["winners"][0], *GROUP["losers"][0]} - {"schema"}
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []


def test_a_sound_row_has_no_fault():
    assert fault_of(GROUP) is None and fault_of(json.loads(json.dumps(GROUP))) is None
    assert group_from_json(GROUP).to_json() == GROUP


def test_loading_asks_for_less_and_still_names_line_and_field(tmp_path):
    """A group without a witness can be trained on; one whose text is missing cannot."""
    lean = copy.deepcopy(GROUP)
    for name in ("witness", "kill_rate", "alpha_sha"):
        del lean["losers"][0][name]
    assert read_ir_groups(written(tmp_path / "g.jsonl", lean))[0].losers == tuple(lean["losers"])
    with pytest.raises(UserError, match=r"g.jsonl:2: MissingField: winners\[0\].ir: expected text"):
        read_ir_groups(written(tmp_path / "g.jsonl", lean, changed("winners.0.ir")))


def test_what_may_not_stand_twice_in_a_file(tmp_path, capsys):
    same_id, leak, same_text = group_row(2), group_row(3), group_row(4)
    same_id["group_id"] = "g0"
    leak |= {"dedup_cluster": "cluster 0", "split": "test"}
    same_text["losers"].append(loser(1, "b"))
    path = written(tmp_path / "g.jsonl", GROUP, group_row(1), same_id, leak, same_text)
    assert main(["data", "check", path]) == 1
    said = capsys.readouterr().out
    assert ":3: DuplicateId: group_id: 'g0' stands on line 1 too; make it unique" in said
    assert ":4: SplitLeak: dedup_cluster: split 'test' has the program that stands in 'train' on line 1" in said
    assert ":5: DuplicateIR: l1.ir: stands on line 1 too" in said
    assert "5 rows, 2 kept, 3 refused: DuplicateId (1), SplitLeak (1), DuplicateIR (1)" in said
    with pytest.raises(UserError, match=":2: SplitLeak: "):
        read_ir_groups(written(tmp_path / "leak.jsonl", GROUP, leak))
    with pytest.raises(UserError, match=":2: DuplicateId: "):
        read_ir_groups(written(tmp_path / "twice.jsonl", GROUP, same_id))


def test_leaks_into_another_file(tmp_path, capsys):
    train = written(tmp_path / "train.jsonl", group_row(0), group_row(1))
    held_out = [group_row(k) | {"split": "test"} for k in (1, 2, 3)]
    held_out[2]["winners"][1] = winner(1, "a")
    test = written(tmp_path / "test.jsonl", *held_out)
    assert main(["data", "check", test]) == 0
    assert main(["data", "check", test, "--against", train]) == 1
    said = capsys.readouterr().out
    assert (
        f"test.jsonl:1: SplitLeak: dedup_cluster: split 'test' has the program that stands in 'train' on {train}:2"
        in said
    )
    assert f"test.jsonl:3: DuplicateIR: w1.ir: stands on {train}:1 too" in said
    assert "3 rows, 1 kept, 2 refused" in said
    other = written(tmp_path / "other.jsonl", group_row(7) | {"group_id": "g2"})  # a name in two files is no leak
    assert main(["data", "check", test, "--against", other]) == 0
    bad = written(tmp_path / "bad.jsonl", changed("winners.0.ir"))
    assert main(["data", "check", test, "--against", bad]) == 1
    assert "bad.jsonl:1: MissingField: winners[0].ir" in capsys.readouterr().err


def test_lines_that_are_no_rows_are_counted_with_the_rest(tmp_path, capsys):
    path = tmp_path / "g.jsonl"
    whole = json.dumps(GROUP).encode()
    path.write_bytes(b"\n".join([whole, b"[1]", whole[:200], b"\xff\xfe", b"\n", b"[" * 100_000, b'{"schema": 3}']))
    assert main(["data", "check", str(path)]) == 1
    said = capsys.readouterr().out
    assert ":2: ParseError: a list, not a JSON object" in said and ":3: ParseError: not valid JSON" in said
    assert ":4: ParseError: not UTF-8" in said and ":7: ParseError: not valid JSON" in said
    assert "6 rows, 1 kept, 5 refused" in said and "ParseError (4)" in said


def corrupted(line: bytes, draw: random.Random) -> bytes:
    """A line after one accident: a bit, a cut, a field gone, a value of another type."""
    kind = draw.randrange(4)
    if kind == 0:
        data = bytearray(line)
        for _ in range(draw.choice((1, 3, 30))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        return bytes(data).replace(b"\n", b" ")
    if kind == 1:
        return line[: draw.randrange(len(line))]
    row = json.loads(line)
    places: list[tuple] = []
    queue: list = [row]
    while queue:
        item = queue.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item))
        places += [(item, key) for key in keys]
        queue += [item[key] for key in keys if isinstance(item[key], (dict, list))]
    holder, key = draw.choice(places)
    if kind == 2:
        del holder[key]
    else:
        holder[key] = draw.choice((None, True, -1, 10**30, 0.5, "", "x", [], [[]], {}, {"a": 1}, "\ud800"))
    return json.dumps(row).encode()


CONTRACTED = {
    "ret": "i32",
    "params": [
        {"kind": "buffer", "name": "v", "type": "struct", "const": True,
         "struct": {"name": "p", "fields": [["x", "i32"], ["ys", "i8", 2]]}},
        {"kind": "scalar", "name": "n", "type": "i32"},
        {"kind": "buffer", "name": "s", "type": "char", "const": True},
        {"kind": "buffer", "name": "out", "type": "f64", "const": False},
    ],
    "contract": "v[n]; v.x in 0..5; n in 0..3; s text 0..4; out[n] out",
}  # fmt: skip
ARGUMENTS = [[[{"x": "1", "ys": ["1", "2"]}], "1", "ab", {"out": 1}], [[], "0", "", {"out": 0}]]


def test_noise_never_makes_a_traceback(tmp_path, capsys):
    draw = random.Random(None if DEEP else 5)
    rows = [group_row(k) for k in range(6000 if DEEP else 600)]
    for row in rows[::2]:
        row["signature"], row["inputs"]["args"] = CONTRACTED, ARGUMENTS
    lines = [json.dumps(row).encode() for row in rows]
    noisy = [corrupted(line, draw) if k % 3 else line for k, line in enumerate(lines)]
    path = tmp_path / "g.jsonl"
    path.write_bytes(b"\n".join(noisy))
    assert main(["data", "check", str(path)]) == 1
    said = capsys.readouterr().out
    [counts] = [line for line in said.splitlines() if " refused: " in line]
    rows, kept, refused = (int(word) for word in counts.split() if word.isdigit())
    assert rows == kept + refused and kept >= len(lines) // 3
    assert rows == sum(bool(line.strip()) for line in path.read_bytes().split(b"\n"))
    kinds = {part.split(" (")[0] for part in counts.split(" refused: ")[1].split("), ")}
    assert kinds <= {
        "ParseError", "SchemaVersion", "MissingField", "WrongType", "WrongValue", "TooFewWinners", "NoLosers",
        "DuplicateIR", "WinnerLoserOverlap", "DuplicateId", "SignatureMismatch", "WitnessMissing", "LicenceMissing",
        "SplitLeak", "task_id", "schema",
    }  # fmt: skip
    for line in noisy[:300]:
        path.write_bytes(line + b"\n")
        try:
            read_ir_groups(path)
        except UserError as err:
            assert str(err).startswith(str(path))


def test_a_large_file_is_checked_without_being_held(tmp_path, capsys):
    padding = "x" * 40_000
    with (tmp_path / "g.jsonl").open("w") as file:
        for k in range(1000):
            row = group_row(k)
            row["source"]["code"] += f"/* {padding} */"
            file.write(json.dumps(row) + "\n")
    tracemalloc.start()
    assert main(["data", "check", str(tmp_path / "g.jsonl")]) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "1000 rows, 1000 kept, 0 refused" in capsys.readouterr().out
    assert peak < 8 << 20, "forty megabytes of rows"


def test_seen_forgets_nothing_and_takes_no_refused_row():
    seen = Seen()
    seen.add(GROUP, "line 1")
    assert seen.fault(group_row(1)) is None
    assert seen.fault({**group_row(1), "dedup_cluster": "cluster 0"}) is None, "one split may hold a program twice"
    assert seen.fault({**GROUP, "group_id": "n"}).startswith("DuplicateIR: w0.ir: stands on line 1")
    assert WITNESS["expected"] == GROUP["inputs"]["expected"][WITNESS["input"]]


@pytest.mark.parametrize("arguments", [["--jobs", "0", "--reverify"], ["--jobs", "2"]])
def test_wrong_usage_is_told(arguments, tmp_path, capsys):
    assert main(["data", "check", written(tmp_path / "g.jsonl", GROUP), *arguments]) == 2
    assert "--jobs is" in capsys.readouterr().err
