"""Stored groups run again: tampered records are named, nothing spoils anything else, LLVM may die, Ctrl-C is clean."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from oorl.ir import IRConfig, build_groups, sources_of_file  # noqa: E402
from oorl.ir.clean import alpha_sha  # noqa: E402
from oorl.ir.reverify import reverify, reverify_each  # noqa: E402
from oorl.ir.reverify_worker import reverify_rows  # noqa: E402

CODE = """
long long clamp(long long x, long long low, long long high) {
    if (x < low) return low;
    if (x > high) return high;
    return x;
}
void running_sum(long long *xs, long long n) { for (long long i = 1; i < n; i++) xs[i] += xs[i - 1]; }
unsigned mix(unsigned h, int steps) {
    for (int i = 0; i < (steps & 7); i++) h = (h >> 3) ^ (h * 31u) ^ (unsigned)i;
    return h;
}
int kind_of(int code) {
    switch (code) { case 0: return 7; case 1: return -3; case 5: return code * 2; default: return code % 4; }
}
"""


# Sizes known late, padded vectors, bits of unwritten bytes, atomics, wide values, structs by value, parts of others.
UNUSUAL = """
#include <stdatomic.h>
long of_a_late_size(long n) {
    n &= 15;
    long xs[n + 1], s = 0;
    for (long i = 0; i <= n; i++) xs[i] = i * n;
    for (long i = 0; i <= n; i++) s += xs[i] ^ n;
    return s;
}
typedef int three __attribute__((ext_vector_type(3)));
int of_three(int a, int b) { three x = {a & 255, b & 255, 3}, y = x * x + 1; return y.x + y.y * 3 + y.z; }
struct bits { unsigned a : 3, b : 5; int c : 9; };
int of_bits(int a, int b) { struct bits s; s.a = a; s.b = b; s.c = a ^ b; return s.a * 100 + s.b * 10 + s.c; }
int of_atomics(int a, int b) {
    _Atomic int x = a & 1023;
    int expected = 5;
    atomic_fetch_add(&x, b & 15);
    atomic_compare_exchange_strong(&x, &expected, 9);
    return x * 2 + expected;
}
unsigned long of_wide(unsigned long a, unsigned long b) {
    unsigned __int128 p = (unsigned __int128)a * b;
    return (unsigned long)(p >> 64) ^ (unsigned long)p;
}
typedef struct { long a, b, c, d; } big;
static long deep(big s, int n) { if (n <= 0) return s.a + s.d; s.a += n; return deep(s, n - 1) ^ s.b; }
long of_copies(int a, int b) { big s = {a & 255, b & 255, 3, 4}; return deep(s, a & 7); }
union word { float f; unsigned i; unsigned char c[4]; };
unsigned of_parts(int a, int b) { union word x; x.f = (float)(a % 1000); x.c[1] ^= b; return x.i ^ (x.i >> 3); }
double of_long_doubles(int a, int b) { long double x = a; x = x / (b ? b : 1); return (double)(x * 3); }
int of_volatiles(int a, int b) { volatile int x = a & 255; x += b & 255; return x * x; }
"""


def test_memory_in_unusual_ways_makes_groups_that_reproduce(tmp_path):
    path = tmp_path / "unusual.c"
    path.write_text(UNUSUAL)
    config = IRConfig(max_winners=4, max_losers=4, inputs=32)
    outcomes = list(build_groups(sources_of_file(path, "Apache-2.0")[0], config, jobs=1))
    assert len(outcomes) == 9 and [outcome.reason for outcome in outcomes if outcome.group is None] == []
    assert list(reverify_each([outcome.group for outcome in outcomes])) == [None] * 9


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    path = tmp_path_factory.mktemp("c") / "functions.c"
    path.write_text(CODE)
    config = IRConfig(max_winners=4, max_losers=4, inputs=32)
    outcomes = build_groups(sources_of_file(path, "Apache-2.0")[0], config, jobs=1)
    return {outcome.group.source["entry"]: outcome.group for outcome in outcomes}


def with_member(group, side, index, **changes):
    members = list(getattr(group, side))
    members[index] = {**members[index], **changes}
    return dataclasses.replace(group, **{side: tuple(members)})


def test_a_loser_among_the_winners_is_caught(groups):
    group = groups["clamp"]
    loser = group.losers[0]
    fake = with_member(group, "winners", 1, ir=loser["ir"], alpha_sha=loser["alpha_sha"])
    fake = dataclasses.replace(fake, losers=group.losers[1:])
    assert reverify(fake).startswith("WinnerMismatch: w1 answers")


def test_a_winner_among_the_losers_is_caught(groups):
    group = groups["clamp"]
    winner = group.winners[0]
    fake = with_member(group, "losers", 2, ir=winner["ir"], alpha_sha=winner["alpha_sha"])
    fake = dataclasses.replace(fake, winners=group.winners[1:])
    assert reverify(fake).startswith("WitnessNotReproduced: l2")


def test_every_other_change_to_a_record_is_caught(groups):
    group = groups["kind_of"]
    ir = group.winners[0]["ir"]
    changed = re.sub(r"(srem i32 %\d+), 4", r"\1, 3", ir)
    assert changed != ir
    assert reverify(with_member(group, "winners", 0, ir=changed)).startswith("DuplicateIR: the text of w0 is not")
    assert reverify(with_member(group, "winners", 0, ir=changed, alpha_sha=alpha_sha(changed))).startswith(
        "WinnerMismatch: w0"
    )
    assert reverify(with_member(group, "winners", 0, ir="define", alpha_sha=alpha_sha("define"))).startswith(
        "ParseError: w0"
    )
    other = ir.replace("@kind_of(", "@other(")
    assert reverify(with_member(group, "winners", 0, ir=other, alpha_sha=alpha_sha(other))).startswith(
        "EntryNotDefined: w0"
    )
    witness = {**group.losers[0]["witness"], "got": {"ret": "123456", "memory": {}}}
    assert reverify(with_member(group, "losers", 0, witness=witness)).startswith("WitnessNotReproduced: l0")
    assert reverify(with_member(group, "losers", 0, kill_rate=2.0)).startswith(
        "WitnessNotReproduced: l0 differs on a share"
    )
    code = group.source["code"].replace("return 7", "return 6")
    assert reverify(dataclasses.replace(group, source={**group.source, "code": code})).startswith(
        "ReferenceFails: the source answers"
    )
    assert reverify(dataclasses.replace(group, signature={"ret": "i64"})).startswith("SignatureMismatch")
    endless = "define i32 @kind_of(i32 %0) {\n  br label %2\n2:\n  br label %2\n}\n"
    assert "ends in a timeout" in reverify(with_member(group, "winners", 0, ir=endless, alpha_sha=alpha_sha(endless)))


def test_many_groups_are_judged_in_their_order_and_llvm_may_die(groups):
    """A member on which LLVM aborts its process costs its group alone, at whatever place of its chunk."""
    names = ["clamp", "mix", "kind_of", "running_sum", "clamp"]
    rows = [groups[name].to_json() for name in names]
    # Without its target attribute this intrinsic cannot be compiled: LLVM aborts.
    abort = (
        "define i32 @mix(i32 %0, i32 %1) {\n  %3 = call i32 @llvm.x86.sse42.crc32.32.32(i32 %0, i32 %1)\n"
        "  ret i32 %3\n}\ndeclare i32 @llvm.x86.sse42.crc32.32.32(i32, i32)\n"
    )
    rows[1] = with_member(groups["mix"], "winners", 2, ir=abort, alpha_sha=alpha_sha(abort)).to_json()
    rows[4] = with_member(groups["clamp"], "losers", 0, kill_rate=0.0001).to_json()
    judged = list(reverify_rows(iter(rows), jobs=1))
    assert [row["group_id"] for row, _ in judged] == [row["group_id"] for row in rows]
    faults = [fault for _, fault in judged]
    assert faults[4].startswith("WitnessNotReproduced: l0 differs on a share")
    assert [k for k, fault in enumerate(faults) if fault] == [1, 4]
    if "ParseError" not in faults[1]:  # a machine whose LLVM does not know the intrinsic
        assert faults[1] == "LLVM: the worker process ended with SIGABRT on a member"


def test_one_source_that_does_not_compile_spoils_no_other(groups):
    broken = dataclasses.replace(groups["mix"], source={**groups["mix"].source, "code": "unsigned mix(unsigned h { }"})
    macro = groups["clamp"].source["code"].replace("{\n    if (x < low)", "{\n#define high low\n    if (x < low)")
    assert macro != groups["clamp"].source["code"]
    wrong = dataclasses.replace(groups["clamp"], source={**groups["clamp"].source, "code": macro})
    faults = list(reverify_each([groups["clamp"], broken, wrong, groups["clamp"], groups["kind_of"]]))
    assert faults[0] is None and faults[3] is None and faults[4] is None
    assert faults[1].startswith("ReferenceFails: compile: ") and faults[2].startswith("ReferenceFails: the source ")


def test_a_loser_that_scribbles_over_its_process_changes_no_other_verdict(groups):
    """It fills all that it can reach with zeros, perhaps its answers too; the next loser is judged as before."""
    group = groups["running_sum"]
    scribble = (
        "define void @running_sum(ptr %0, i64 %1) {\n  br label %3\n3:\n  %4 = phi ptr [ %0, %2 ], [ %5, %3 ]\n"
        "  store i64 0, ptr %4\n  %5 = getelementptr i64, ptr %4, i64 -1\n  br label %3\n}\n"
    )
    fake = with_member(group, "losers", 0, ir=scribble, alpha_sha=alpha_sha(scribble))
    assert reverify(fake) == "WitnessNotReproduced: l0 ends in a crash"
    last = with_member(group, "losers", 3, kill_rate=0.0001)
    for k, first in enumerate((group.losers[0], fake.losers[0])):  # after it, and without it, the same is said of l3
        said = reverify(dataclasses.replace(last, losers=(first, *last.losers[1:])[k:]))
        assert said.startswith("WitnessNotReproduced: l3 differs on a share of ")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"ret": "f64"}, "SignatureMismatch: w0: signature: the compiler returns i32"),
        ({"params": [{"kind": "scalar", "name": "code", "type": "i64"}]}, "SignatureMismatch: "),
    ],
)
def test_members_are_called_as_they_are_compiled(groups, changes, kind):
    group = groups["kind_of"]
    assert reverify(dataclasses.replace(group, signature={**group.signature, **changes})).startswith(kind)


def test_assembly_is_never_run(groups):
    group = groups["kind_of"]
    inline = 'define i32 @kind_of(i32 %0) {\n  %2 = call i32 asm "movl $1, $0", "=r,r"(i32 %0)\n  ret i32 %2\n}\n'
    module = 'module asm "nop"\n' + group.winners[0]["ir"]
    for text in (inline, module):
        fake = with_member(group, "winners", 0, ir=text, alpha_sha=alpha_sha(text))
        assert reverify(fake) == "EntryNotDefined: w0 calls assembly"


def renamed(group, k: int) -> dict:
    """The same group of a function by another name."""
    row = json.loads(
        json.dumps(group.to_json()).replace("@mix(", f"@mix{k}(").replace("mix(unsigned", f"mix{k}(unsigned")
    )
    row |= {"group_id": f"g{k}", "dedup_cluster": str(k), "source": {**row["source"], "entry": f"mix{k}"}}
    for member in row["winners"] + row["losers"]:
        member["alpha_sha"] = alpha_sha(member["ir"])
    return row


def test_an_interrupt_ends_every_worker(groups, tmp_path):
    path = tmp_path / "g.jsonl"
    path.write_text("".join(json.dumps(renamed(groups["mix"], k)) + "\n" for k in range(300)))
    assert [fault for _, fault in reverify_rows([renamed(groups["mix"], 7)], jobs=1)] == [None]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "oorl", "data", "check", str(path), "--reverify", "--jobs", "2"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    workers: list[psutil.Process] = []
    until = time.monotonic() + 60
    while len(workers) < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
        workers = psutil.Process(process.pid).children(recursive=True)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert len(workers) >= 2 and not alive
