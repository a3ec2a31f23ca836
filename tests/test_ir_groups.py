"""Groups: winners against independent Python definitions, losers by their witnesses, tampered records."""

from __future__ import annotations

import itertools
import json
import math

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from oorl.data.ir_groups import group_from_json  # noqa: E402
from oorl.errors import UsageError, UserError  # noqa: E402
from oorl.ir import IRConfig, build_groups, sources_of_file  # noqa: E402
from oorl.ir.clean import alpha_sha, instruction_count, reparsed  # noqa: E402
from oorl.ir.generator import program_sources  # noqa: E402
from oorl.ir.groups import Known  # noqa: E402
from oorl.ir.layout import arguments_from_json  # noqa: E402
from oorl.ir.reverify import reverify  # noqa: E402
from oorl.ir.signature import CSignature  # noqa: E402
from oorl.ir.statistics import Statistics  # noqa: E402

CODE = """
#include <stdbool.h>
static long long floor_div(long long a, long long b) {
    long long q = a / b;
    return (a % b != 0) && ((a < 0) != (b < 0)) ? q - 1 : q;
}
long long clamp(long long x, long long low, long long high) {
    if (x < low) return low;
    if (x > high) return high;
    return x;
}
bool grows(long long a, long long b) { return a + b > a; }
double power(double x, int n) { double r = 1.0; for (int i = 0; i < n && i < 20; i++) r *= x; return r; }
void running_sum(long long *xs, long long n) { for (long long i = 1; i < n; i++) xs[i] += xs[i - 1]; }
long long buckets(long long a, long long b) {
    long long c = floor_div(a, 3) + b;
    return c % 2 == 0 && a > b ? c - a : c > 10 ? c : 10 - c;
}
unsigned mix(unsigned h, int steps) {
    for (int i = 0; i < (steps & 7); i++) h = (h >> 3) ^ (h * 31u) ^ (unsigned)i;
    return h;
}
int kind_of(int code) {
    switch (code) { case 0: return 7; case 1: return -3; case 5: return code * 2; default: return code % 4; }
}
long long constant(long long a) { return a - a + 5; }
"""


def power(x: float, n: int) -> float:
    result = 1.0
    for _ in range(min(max(n, 0), 20)):
        result *= x
    return result


def buckets(a: int, b: int) -> int:
    c = a // 3 + b
    return c - a if c % 2 == 0 and a > b else c if c > 10 else 10 - c


def mix(h: int, steps: int) -> int:
    for i in range(steps & 7):
        h = (h >> 3) ^ (h * 31 & 0xFFFFFFFF) ^ i
    return h


# What the C functions mean, written apart from them: the oracle.
MEANING = {
    "clamp": lambda x, low, high: low if x < low else high if x > high else x,
    "grows": lambda a, b: a + b > a,
    "power": power,
    "running_sum": lambda xs, _: list(itertools.accumulate(xs)),
    "buckets": buckets,
    "mix": mix,
    "kind_of": lambda code: {0: 7, 1: -3, 5: 10}.get(code, int(math.fmod(code, 4))),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    path = tmp_path_factory.mktemp("c") / "functions.c"
    path.write_text(CODE)
    found, refused = sources_of_file(path, "Apache-2.0")
    assert refused == []
    return found


@pytest.fixture(scope="module")
def outcomes(sources):
    return {
        outcome.source.split(":")[1]: outcome for outcome in build_groups(sources, IRConfig(max_chars=1500), jobs=1)
    }


@pytest.fixture(scope="module")
def groups(outcomes):
    return {name: outcome.group for name, outcome in outcomes.items() if outcome.group}


def test_every_varied_function_fills_its_group(outcomes, groups):
    assert set(groups) == set(MEANING)
    assert outcomes["constant"].reason.startswith("constant:")
    for group in groups.values():
        assert 4 <= len(group.winners) <= 8 and 4 <= len(group.losers) <= 8


def test_expected_outcomes_are_what_the_functions_mean(groups):
    for name, group in groups.items():
        signature = CSignature.from_json(group.signature)
        assert group.inputs["n"] == len(group.inputs["args"]) >= 16
        for row, expected in zip(group.inputs["args"], group.inputs["expected"], strict=True):
            meant = MEANING[name](*arguments_from_json(signature, row))
            if name == "running_sum":
                assert expected == {"ret": None, "memory": {"xs": [str(x) for x in meant]}}
            elif name == "power":
                assert float.fromhex(expected["ret"]) == meant
            else:
                assert expected == {"ret": str(int(meant)), "memory": {}}, (name, row)


def test_every_member_reproduces(groups):
    for group in groups.values():
        assert reverify(group_from_json(json.loads(json.dumps(group.to_json())))) is None


def test_members_are_clean_distinct_and_within_the_bounds(groups):
    for name, group in groups.items():
        members = (*group.winners, *group.losers)
        assert len({member["alpha_sha"] for member in members}) == len(members)
        for member in members:
            ir = member["ir"]
            assert reparsed(ir) == ir and alpha_sha(ir) == member["alpha_sha"]
            assert len(ir) <= 1500 and instruction_count(ir) == member["n_insts"] <= 80
            assert f"@{name}(" in ir
        for loser in group.losers:
            assert 0 < loser["kill_rate"] <= 1
            assert 0 < loser["distance_nearest"] <= loser["distance_parent"]
            near, seen = loser["distance_nearest"], loser["kill_rate"]
            points = (near >= 0.02) + (near >= 0.1) + (seen >= 0.25) + (seen >= 0.75)
            assert loser["bin"] == ("hard" if points < 2 else "mid" if points == 2 else "easy")
            assert (loser["style"] == "reopt") == bool(loser["reopt_pipeline"])
        assert any("neutral:" in step for winner in group.winners for step in winner["pipeline"])


def test_half_of_the_losers_are_optimised_again(groups):
    losers = [loser for group in groups.values() for loser in group.losers]
    again = sum(loser["style"] == "reopt" for loser in losers)
    assert 0.4 <= again / len(losers) <= 0.6
    assert len({loser["operators"][0] for loser in losers}) >= 10


def test_generated_programs_agree_with_their_interpreter():
    from oorl.programs import IR, Undefined, evaluate, generate_program

    config = IRConfig(max_chars=700, max_winners=4, max_losers=4)
    kept = list(itertools.islice((o.group for o in build_groups(program_sources(5), config) if o.group), 3))
    compared = 0
    for group in kept:
        program = generate_program(int(group.source["origin"].rsplit(" ", 1)[1]), config=IR)
        signature = CSignature.from_json(group.signature)
        for row, expected in zip(group.inputs["args"], group.inputs["expected"], strict=True):
            arguments = arguments_from_json(signature, row)
            own = [value for p, value in zip(signature.params, arguments, strict=True) if not p.length_of]
            try:
                value = evaluate(program, own)
            except Undefined:
                continue  # outside the generator's own range of values, 2^31
            assert expected["ret"] == str(int(value))
            compared += 1
        assert reverify(group) is None
    assert compared >= 48


def test_functions_that_make_no_group_are_refused_with_a_reason(tmp_path):
    path = tmp_path / "refused.c"
    path.write_text(
        "long long strange(long long);\n"
        "long long calls(long long a) { return strange(a) + 1; }\n"
        "long long faults(long long a) { return a / (a - a); }\n"
        "long long outside(const long long *xs, long long n) { return xs[n]; }\n"
        "long long endless(long long a) { volatile long long go = 1; while (go) a += 1; return a; }\n"
        "long long wide(long long a, long long b) { long long s = 0; for (int i = 0; i < 9; i++) { "
        "s ^= a * i + b / (i + 1); s += s % 7; if (s > a) s -= b % 5; if (s < b) s = s * 3 % 1000; } return s; }\n"
        "char *text(int a) { return 0; }\n"
    )
    sources, refused = sources_of_file(path)
    assert [name for name, _ in refused] == ["refused.c:text"] and "result" in refused[0][1]
    reasons = {o.source.split(":")[1]: o.reason for o in build_groups(sources, IRConfig(max_chars=300), jobs=1)}
    kinds = {name: reason.split(":")[0] for name, reason in reasons.items()}
    assert kinds == {
        "calls": "external",
        "faults": "undefined",
        "outside": "undefined",
        "endless": "undefined",
        "wide": "size",
    }
    assert "strange" in reasons["calls"]


def test_an_assertion_of_llvm_costs_one_function(tmp_path):
    path = tmp_path / "crash.c"
    # Without its target attribute this intrinsic cannot be compiled: LLVM aborts its process.
    path.write_text(
        '__attribute__((target("crc32"))) unsigned long long crash(unsigned long long a) '
        "{ return __builtin_ia32_crc32di(a, 3); }\n"
        "long long after(long long a, long long b) { return a > b ? a - b : b * 2; }\n"
    )
    sources, _ = sources_of_file(path)
    crashed, after = build_groups(sources, IRConfig(max_winners=4, max_losers=4), jobs=1)
    if crashed.reason.startswith("compile:"):
        pytest.skip("this machine is no x86-64: the front end refuses the intrinsic")
    assert crashed.group is None and crashed.reason.startswith("llvm: the worker process ended with SIGABRT")
    assert after.group is not None


def test_files_that_hold_no_function_are_named(tmp_path):
    with pytest.raises(UserError, match="cannot read .*gone.c"):
        sources_of_file(tmp_path / "gone.c")
    (tmp_path / "empty.c").write_text("int x;\n")
    with pytest.raises(UserError, match="defines no function"):
        sources_of_file(tmp_path / "empty.c")
    (tmp_path / "binary.c").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        sources_of_file(tmp_path / "binary.c")


@pytest.mark.parametrize("setting", [{"max_winners": 3}, {"min_losers": 0}, {"max_chars": 3}, {"inputs": 4}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UsageError, match=next(iter(setting)).split("_")[-1]):
        IRConfig(**setting)


def test_the_same_function_under_other_names_makes_one_group(tmp_path):
    path = tmp_path / "twins.c"
    path.write_text(
        "long long first(long long a, long long b) { return a > b ? a - b : a * 3; }\n"
        "long long second(long long x, long long y) { return x > y ? x - y : x * 3; }\n"
        "long long third(long long x, long long y) { return x > y ? x - y : x * 5; }\n"
    )
    sources, _ = sources_of_file(path)
    assert len({source.cluster for source in sources}) == 3
    config = IRConfig(max_winners=4, max_losers=4)
    first, second, third = build_groups(sources, config, jobs=1)
    assert first.group and third.group
    assert second.reason == "duplicate: a winner is one of an earlier group"
    [again] = build_groups(sources[1:2], config, jobs=1, known=Known([first.group]))
    assert again.reason == second.reason


def test_statistics_add_up(outcomes):
    statistics = Statistics()
    for outcome in outcomes.values():
        statistics.add(outcome.group, outcome.reason, outcome.counts, outcome.cpu_s)
    row = statistics.to_json()
    assert row["functions"] == len(outcomes) and row["kept"] == len(MEANING) and row["refused"] == {"constant": 1}
    assert sum(row["bins"].values()) == sum(row["styles"].values()) == statistics.losers
    made = sum(sum(fates.values()) for fates in row["operators"].values())
    assert made == sum(count for name, count in statistics.counts.items() if name.startswith("mutant "))
    assert "7 groups of 8 functions; refused: constant 1" in statistics.table()
