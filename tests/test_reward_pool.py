"""The pool end to end: verdicts, deadlines, floods, cheats, shared and killed supervisors, and nothing left behind."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from oorl.data.problems import Limits, Problem
from oorl.errors import UsageError, UserError
from oorl.reward import Job, PoolConfig, RewardPool, Verdict, tasks, workers
from oorl.reward.cache import OutcomeCache
from oorl.reward.jail import Report, RunLimits
from oorl.reward.jobs import Outcome
from oorl.reward.languages import LANGUAGES, missing_toolchain
from oorl.reward.verdict import ending, job_verdict, reward
from oorl.types import Signature, Type

ADD = Signature((("a", Type("int")), ("b", Type("int"))), Type("int"))
ADD_TESTS = tuple({"args": [i, 2 * i], "returns": 3 * i} for i in range(6))


def problem(language="python", **changes):
    base = Problem(
        task_id=f"add-{language}",
        source_lang="c",
        source_code="",
        target_lang=language,
        target_decl="",
        entry="add",
        mode="call",
        tests=ADD_TESTS,
        signature=ADD,
        limits=Limits(time_s=4.0, memory_mb=256),
    )
    return replace(base, **changes)


def spinning(language="python"):
    return problem(language, limits=Limits(time_s=0.5, memory_mb=256))


STDIN_TESTS = tuple({"stdin": f"{i} {i + 1}\n", "stdout": f"{2 * i + 1}\n"} for i in range(4))
STDIN = problem(mode="stdin", signature=None, entry="", tests=STDIN_TESTS)

# What a program of each language does, and the verdict that is due.
PROGRAMS = {
    "python": {
        Verdict.PASS: "def add(a, b):\n    return a + b\n",
        Verdict.WA: "def add(a, b):\n    return a - b\n",
        Verdict.RE: "def add(a, b):\n    raise ValueError('no')\n",
        Verdict.EARLY_EXIT: "import sys\ndef add(a, b):\n    sys.exit(0)\n",
        Verdict.CE: "def add(a, b:\n",
        Verdict.TLE_CPU: "def add(a, b):\n    while True: pass\n",
    },
    "cpp": {
        Verdict.PASS: "long long add(long long a, long long b) { return a + b; }",
        Verdict.WA: "long long add(long long a, long long b) { return a - b; }",
        Verdict.RE: '#include <stdexcept>\nlong long add(long long a, long long b) { throw std::runtime_error("no"); }',
        Verdict.EARLY_EXIT: "#include <cstdlib>\nlong long add(long long a, long long b) { std::_Exit(0); }",
        Verdict.CE: "long long add(long long a, long long b) { return a + ; }",
        Verdict.TLE_CPU: "long long add(long long a, long long b) { volatile int x = 1; while (x) {} return a + b; }",
    },
    "java": {
        Verdict.PASS: "class Main { static long add(long a, long b) { return a + b; } }",
        Verdict.WA: "class Main { static long add(long a, long b) { return a - b; } }",
        Verdict.RE: 'class Main { static long add(long a, long b) { throw new RuntimeException("no"); } }',
        Verdict.EARLY_EXIT: "class Main { static { System.exit(0); } static long add(long a, long b) { return 0; } }",
        Verdict.CE: "class Main { static long add(long a, long b) { return a + ; } }",
        Verdict.TLE_CPU: "class Main { static long add(long a, long b) { while (a < 99) { b++; } return b; } }",
    },
    "php": {
        Verdict.PASS: "function add($a, $b) { return $a + $b; }",
        Verdict.WA: "function add($a, $b) { return $a - $b; }",
        Verdict.RE: "function add($a, $b) { throw new Exception('no'); }",
        Verdict.EARLY_EXIT: "function add($a, $b) { exit(0); }",
        Verdict.CE: "function add($a, $b) { return $a + ; }",
        Verdict.TLE_CPU: "function add($a, $b) { while (true) {} }",
    },
    "bash": {
        Verdict.PASS: "add() { echo $(($1 + $2)); }",
        Verdict.WA: "add() { echo $(($1 - $2)); }",
        Verdict.TLE_CPU: "add() { while :; do :; done; }",
    },
    "javascript": {
        Verdict.PASS: "function add(a, b) { return a + b; }",
        Verdict.WA: "function add(a, b) { return a - b; }",
        Verdict.RE: "function add(a, b) { throw new Error('no'); }",
        Verdict.EARLY_EXIT: "function add(a, b) { process.exit(0); }",
        Verdict.CE: "function add(a, b) { return a + ; }",
        Verdict.TLE_CPU: "function add(a, b) { while (true) {} }",
    },
}
GOOD = PROGRAMS["python"][Verdict.PASS]


@pytest.fixture(scope="module")
def pool():
    with RewardPool(PoolConfig(slots=2)) as started:
        yield started


@pytest.fixture(scope="module")
def thorough():
    """A pool that runs every test."""
    with RewardPool(PoolConfig(slots=2, early_stop=False)) as started:
        yield started


def judge(pool, *jobs, rule="none", deadline_s=120.0):
    """Results of (problem, program) pairs."""
    made = [Job(str(index), task, program, rule) for index, (task, program) in enumerate(jobs)]
    return pool.gather(pool.submit(made), deadline_s)


def needs(language):
    reason = missing_toolchain(language)
    if reason:
        pytest.skip(reason)


def descendants(pid):
    listing = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout.split("\n")[1:]
    parents = [tuple(map(int, line.split())) for line in listing if line.strip()]
    found = [pid]
    for parent in found:
        found += [child for child, its_parent in parents if its_parent == parent]
    return found


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def all_gone(pids, patience_s=15.0):
    """Whether every process ends in time (zombies nobody has reaped count as ended)."""

    def runs(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    deadline = time.monotonic() + patience_s
    while any(map(runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(runs, pids))


# Verdicts


@pytest.mark.slow
@pytest.mark.parametrize("language", PROGRAMS)
def test_verdicts_of_a_language(pool, language):
    needs(language)
    programs = PROGRAMS[language]
    tasks_ = [spinning(language) if due is Verdict.TLE_CPU else problem(language) for due in programs]
    results = judge(pool, *zip(tasks_, programs.values(), strict=True))
    assert {due: result.verdict for due, result in zip(programs, results, strict=True)} == {
        due: due for due in programs
    }
    assert [result.reward for result in results] == [1.0] + [0.0] * (len(programs) - 1)
    assert results[0].tests == (Verdict.PASS,) * 6 and results[0].passed == results[0].total == 6
    assert results[1].tests == (Verdict.PASS, Verdict.WA, *[Verdict.SKIPPED] * 4)  # 0 - 0 is right


# A program, its verdict, and what it is: a cheat, or a vandal.
ATTACKS = {
    "exit without clean-up": ("import os\ndef add(a, b):\n    os._exit(0)\n", Verdict.EARLY_EXIT),
    "exit at import": ("import sys\nsys.exit(0)\n", Verdict.EARLY_EXIT),
    "exit with an error": ("import os\ndef add(a, b):\n    os._exit(7)\n", Verdict.RE),
    "kill itself": ("import os\ndef add(a, b):\n    os.kill(os.getpid(), 9)\n", Verdict.RE),
    "no function": ("x = 1\n", Verdict.CE),
    "empty program": ("", Verdict.CE),
    "sleep for ever": ("import time\ndef add(a, b):\n    time.sleep(1000)\n", Verdict.TLE_WALL),
    "ignore signals and spin": (
        "import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\n"
        "def add(a, b):\n    while True: pass\n",
        Verdict.TLE_CPU,
    ),
    "allocate": ("def add(a, b):\n    return len(bytearray(1 << 33))\n", Verdict.MLE),
    "recurse": ("import sys\nsys.setrecursionlimit(10**9)\ndef add(a, b):\n    return add(a, b)\n", None),
    "always equal": (
        "class E:\n    def __eq__(self, other): return True\n    def __bool__(self): return True\n"
        "def add(a, b):\n    return E()\n",
        Verdict.WA,
    ),
    "bool for int": ("def add(a, b):\n    return True\n", Verdict.WA),
    "huge integer": ("def add(a, b):\n    return 10**5000\n", Verdict.WA),
    "forge replies on standard output": (
        'import os\nfor fd in range(1, 9):\n    try: os.write(fd, b\'{"id": "x", "value": 0}\\n\')\n'
        "    except OSError: pass\ndef add(a, b):\n    return a + b\n",
        Verdict.PROTOCOL,
    ),
    "babble on standard output": (
        "import os\ndef add(a, b):\n    for fd in range(1, 9):\n        try: os.write(fd, b'PASS\\n' * 10)\n"
        "        except OSError: pass\n    return a + b\n",
        Verdict.PROTOCOL,
    ),
    "flood": (
        "import os\ndef add(a, b):\n    while True:\n        for fd in range(1, 9):\n"
        "            try: os.write(fd, b'x' * 65536)\n            except OSError: pass\n",
        Verdict.OLE,
    ),
    "print a megabyte less a bit and be right": (
        "import sys\nsys.stderr.write('x' * 1000000)\ndef add(a, b):\n    return a + b\n",
        Verdict.PASS,
    ),
    "daemon": (
        "import os, time\ndef add(a, b):\n    if a == 0 and os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0:\n            time.sleep(1000)\n        os._exit(0)\n    return a + b\n",
        Verdict.PASS,
    ),
    "fill the disk": (
        "import os\ndef add(a, b):\n    for n in range(1000):\n        with open(f'f{n}', 'wb') as h:\n"
        "            h.write(b'x' * (1 << 22))\n    return a + b\n",
        Verdict.DISK,
    ),
}


@pytest.mark.slow
def test_attacks(pool):
    names = [name for name in ATTACKS if name != "fill the disk" or pool.level in ("namespaces", "full")]
    jobs = []
    for name in names:
        jobs += [(spinning(), ATTACKS[name][0]), (problem(), GOOD + f"# after {name}\n")]
    results = judge(pool, *jobs)
    verdicts = {name: result.verdict for name, result in zip(names, results[::2], strict=True)}
    due = {name: ATTACKS[name][1] or verdicts[name] for name in names}
    assert verdicts == due
    assert verdicts["recurse"] in (Verdict.RE, Verdict.MLE, Verdict.TLE_CPU)  # whichever end it reaches first
    assert {result.verdict for result in results[1::2]} == {Verdict.PASS}


def test_bombs_only_where_they_can_be_held(pool):
    if pool.level in ("limits", "namespaces"):
        pytest.skip("needs a user of its own for every slot (root)")
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"
    shared_memory = (
        "import mmap, os\ndef add(a, b):\n    m = [mmap.mmap(-1, 1 << 22) for _ in range(400)]\n"
        "    for x in m:\n        x.write(b'x' * (1 << 22))\n    return a + b\n"
    )
    first, second, after = judge(pool, (spinning(), bomb), (spinning(), shared_memory), (problem(), GOOD + "#bombs\n"))
    assert first.verdict in (Verdict.PROC_LIMIT, Verdict.TLE_CPU)
    assert second.verdict is Verdict.MLE
    assert after.verdict is Verdict.PASS


def test_expected_values_cannot_be_found(pool):
    """A program that returns what it can find of the expected answer, wherever a program can look."""
    secret = "marker-4f1b9"
    look = (
        "import glob, os, sys\n"
        "def find():\n"
        "    places = glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline')\n"
        f"    secret = bytes.fromhex('{secret.encode().hex()}')\n"
        "    words = [word for word in sys.orig_argv if '/' in word and not word.startswith('/usr')]\n"
        "    here = [os.getcwd(), *map(os.path.dirname, words)]\n"
        "    for directory in here:\n"
        "        places += [os.path.join(r, n) for r, _, names in os.walk(directory) for n in names]\n"
        "    for fd in range(64):\n"
        "        places.append(f'/proc/self/fd/{fd}')\n"
        "    for place in places:\n"
        "        try:\n"
        "            data = os.read(os.open(place, os.O_RDONLY | os.O_NONBLOCK), 1 << 20)\n"
        "        except OSError: continue\n"
        "        if secret in data: return secret.decode()\n"
        "    return 'nothing'\n"
        "def add(a, b):\n    return find()\n"
    )
    text = Signature(ADD.params, Type("str"))
    asked = problem(signature=text, tests=({"args": [1, 2], "returns": secret},))
    (result,) = judge(pool, (asked, look))
    assert result.verdict is Verdict.WA and "'nothing'" in result.detail


def test_stdin_programs(pool):
    sums = "a, b = map(int, input().split())\nprint(a + b)\n"
    cases = {
        Verdict.PASS: sums,
        Verdict.WA: "print(1)\n",
        Verdict.RE: sums + "raise SystemExit(3)\n",
        Verdict.CE: "print(\n",
        Verdict.OLE: "while True: print('x' * 1000)\n",
    }
    results = judge(pool, *[(STDIN, program) for program in cases.values()])
    assert [result.verdict for result in results] == list(cases)
    large = replace(STDIN, tests=({"stdin": "x" * 2_000_000, "stdout": "y" * 200_000},))
    reads, ignores = judge(
        pool, (large, "import sys\nsys.stdin.read()\nprint('y' * 200000)\n"), (large, "print('y' * 200000)\n")
    )
    assert (reads.verdict, ignores.verdict) == (Verdict.PASS, Verdict.PASS)


def test_a_program_that_is_too_long(pool):
    (result,) = judge(pool, (problem(), GOOD + "#" * (1 << 20)))
    assert result.verdict is Verdict.CE_LIMIT and result.reward == 0.0


def test_float_tolerance_and_alternatives(pool):
    half = Signature((("a", Type("float")),), Type("float"))
    tolerant = problem(
        signature=half,
        comparator={"kind": "float", "rel": 1e-6, "abs": 1e-9},
        tests=({"args": [1.0], "accept": [9.0, 0.3333333]}, {"args": [2.0], "returns": float("inf")}),
    )
    program = "def add(a):\n    return a / 3 if a < 2 else float('inf')\n"
    close, exact = judge(pool, (tolerant, program), (replace(tolerant, comparator={"kind": "exact"}), program))
    assert (close.verdict, exact.verdict) == (Verdict.PASS, Verdict.WA)


def test_format_rule(pool):
    fenced = f"```python\n{GOOD}```"
    completions = [
        f"<think>hm</think>\n{fenced}\n",
        f"{fenced}\n{fenced}",
        "no fence",
        f"```java\n{GOOD}```",
        "```python\n" + GOOD,
    ]
    trained = pool.gather(pool.submit([Job(str(n), problem(), text) for n, text in enumerate(completions)]), 60.0)
    assert [result.verdict for result in trained] == [Verdict.PASS] + [Verdict.FORMAT] * 4
    (last,) = judge(pool, (problem(), fenced + "\n" + fenced), rule="evaluate")
    assert last.verdict is Verdict.PASS


def test_invalid_tasks_give_no_reward(pool):
    cases = {
        "tests: there are none": problem(tests=()),
        "nothing to compare with": problem(tests=({"args": [1, 2]},)),
        "not of type int": problem(tests=({"args": [1, "x"], "returns": 1},)),
        "'klingon' is not one of": problem(target_lang="klingon"),
        "mode: 'guess'": problem(mode="guess"),
        "no dict[str, int] for d": problem(
            "bash",
            signature=Signature((("d", Type.parse("dict[str, int]")),), Type("int")),
            tests=({"args": [{}], "returns": 1},),
        ),
        "9007199254740993": problem("javascript", tests=({"args": [2**53 + 1, 0], "returns": 1},)),
    }
    for sentence, asked in cases.items():
        (result,) = judge(pool, (asked, GOOD))
        assert result.verdict is Verdict.INVALID_TASK and result.reward is None, sentence
        assert result.detail.startswith(f"task {asked.task_id}: ")


def test_all_tests_run_when_asked(thorough):
    odd = "import os\ndef add(a, b):\n    if a == 1: return 0\n    if a == 3: os._exit(0)\n    return a + b\n"
    (result,) = judge(thorough, (problem(), odd))
    expected = [Verdict.PASS, Verdict.WA, Verdict.PASS, Verdict.EARLY_EXIT, Verdict.PASS, Verdict.PASS]
    assert list(result.tests) == expected and result.passed == 4 and result.verdict is Verdict.WA


def test_a_broken_toolchain_is_never_a_wrong_program(monkeypatch):
    monkeypatch.setattr(workers, "PROGRAMS", {"python": PROGRAMS["python"][Verdict.WA]})
    finished = queue.SimpleQueue()
    crew = workers.Workers(PoolConfig(slots=1), (), finished.put)
    try:
        crew.put(tasks.Task("1", problem(), GOOD))
        task = finished.get(timeout=60)
    finally:
        crew.close()
    assert task.outcome.verdict is Verdict.INFRA and task.outcome.detail.startswith("Python does not work here: WA")


def test_a_missing_toolchain_is_named_and_costs_no_reward(monkeypatch):
    monkeypatch.setattr(tasks, "missing_toolchain", lambda language: "install the Debian package g++")
    source = tasks.TaskSource(early_stop=True)
    task = source.task(source.problem(problem("cpp").to_json()), "```cpp\n```", "train")
    assert task.outcome.verdict is Verdict.INFRA and "g++" in task.outcome.detail
    assert task.outcome.result(Job("1", problem("cpp"), "")).reward is None


# Deadlines, order, sharing


def test_every_job_is_answered_by_the_deadline(pool):
    sleeper = "import time\ndef add(a, b):\n    time.sleep(1000)\n"
    spinner = "def add(a, b):\n    while True: pass\n"
    patient = problem(limits=Limits(time_s=60.0))  # left alone, these would run for minutes
    jobs = [Job(f"{n}", patient, (sleeper, spinner)[n % 2] + f"# {n}\n", "none") for n in range(40)]
    batch = pool.submit(jobs)
    launched = []
    while not launched:
        time.sleep(0.05)
        launched = [pid for pid in descendants(supervisor_pid(pool)) if b"--cpu-s\x0060.0" in command_line(pid)]
    results = pool.gather(batch, deadline_s=0.5)
    assert [result.job_id for result in results] == [job.job_id for job in jobs] and batch.done
    assert {result.verdict for result in results} == {Verdict.INFRA}
    assert all(result.reward is None and result.detail == "deadline" for result in results)
    assert all_gone(launched)
    (after,) = judge(pool, (problem(), GOOD + "# after the deadline\n"))
    assert after.verdict is Verdict.PASS


@pytest.mark.slow
def test_a_large_batch_keeps_its_order(pool):
    jobs = []
    for n in range(500):
        right = n % 3 != 0
        jobs.append(
            Job(
                f"job-{n}",
                problem(),
                f"def add(a, b):\n    return a + b + {0 if right else 1}\n# {n % 120}\n",
                "none",
            )
        )
    results = pool.gather(pool.submit(jobs), 240.0)
    assert [result.job_id for result in results] == [job.job_id for job in jobs]
    assert [result.verdict is Verdict.PASS for result in results] == [n % 3 != 0 for n in range(500)]


def test_identical_jobs_run_once(pool):
    unique = GOOD + f"# {time.monotonic_ns()}\n"
    results = judge(pool, *[(problem(), unique)] * 50)
    assert len({(result.verdict, result.cpu_s, result.wall_s) for result in results}) == 1
    (again,) = judge(pool, (problem(), unique))
    assert again.wall_s == results[0].wall_s


def test_results_as_they_come(pool):
    slow = "import time\ndef add(a, b):\n    time.sleep(0.1)\n    return a + b\n" + f"# {time.monotonic_ns()}\n"
    batch = pool.submit([Job("slow", problem(), slow, "none"), Job("quick", problem(), "nothing", "train")])
    assert [result.job_id for result in pool.as_completed(batch, 60.0)] == ["quick", "slow"]
    assert list(pool.as_completed(pool.submit([]), 1.0)) == [] and pool.gather(pool.submit([])) == []


def test_cancelling_a_batch(pool):
    batch = pool.submit([Job("1", problem(), "import time\ntime.sleep(1000)\n", "none")])
    pool.cancel(batch)
    (result,) = pool.gather(batch)
    assert (result.verdict, result.detail) == (Verdict.INFRA, "cancelled")


def test_submitting_does_not_wait(pool):
    large = GOOD + "#" + "x" * 200_000 + "\n"
    batch = pool.submit([Job(str(n), problem(), large + f"# {n}\n", "none") for n in range(100)])
    assert not batch.done
    assert {result.verdict for result in pool.gather(batch, 120.0)} == {Verdict.PASS}


def test_two_ranks_share_a_supervisor(pool):
    with RewardPool.connect(pool.socket_path) as other:
        assert (other.level, other.slots) == (pool.level, pool.slots)
        ours = pool.submit([Job(str(n), problem(), GOOD + f"# ours {n}\n", "none") for n in range(10)])
        theirs = other.submit(
            [Job(str(n), problem(), PROGRAMS["python"][Verdict.WA] + f"# {n}\n", "none") for n in range(10)]
        )
        assert {result.verdict for result in other.gather(theirs)} == {Verdict.WA}
        assert {result.verdict for result in pool.gather(ours)} == {Verdict.PASS}
    (after,) = judge(pool, (problem(), GOOD + "# the other rank left\n"))
    assert after.verdict is Verdict.PASS


def test_joining_by_configuration(pool):
    with RewardPool(PoolConfig(socket_path=pool.socket_path)) as joined:
        (result,) = judge(joined, (problem(), GOOD))
        assert result.verdict is Verdict.PASS
    assert judge(pool, (problem(), GOOD))[0].verdict is Verdict.PASS


def test_nobody_to_join_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr("oorl.reward.pool.RECONNECT_S", 0.2)
    with pytest.raises(UserError, match="nobody listens on"):
        RewardPool.connect(tmp_path / "absent")


# Death of the supervisor and of the trainer


def supervisor_pid(pool):
    return pool._process.pid


@pytest.mark.slow
def test_a_killed_supervisor_loses_no_job():
    program = "import time\ndef add(a, b):\n    time.sleep(0.1)\n    return a + b\n"
    with RewardPool(PoolConfig(slots=2)) as pool:
        first = supervisor_pid(pool)
        family = descendants(first)
        batch = pool.submit([Job(str(n), problem(), program + f"# {n}\n", "none") for n in range(12)])
        while batch.answered < 3:
            time.sleep(0.01)
        family += descendants(first)
        os.kill(first, signal.SIGKILL)
        results = pool.gather(batch, 120.0)
        assert [result.verdict for result in results] == [Verdict.PASS] * 12
        assert supervisor_pid(pool) != first
        assert all_gone(family)


@pytest.mark.slow
def test_a_supervisor_that_keeps_dying_is_given_up():
    with RewardPool(PoolConfig(slots=2)) as pool:
        batch = pool.submit([Job("1", problem(), "import time\ntime.sleep(1000)\n", "none")])
        killed = set()
        while not batch.done:
            pid = pool._process.pid if pool._process else None
            if pid and pid not in killed and batch.resubmissions == len(killed):
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        (result,) = pool.gather(batch)
        assert len(killed) == 3 and result.verdict is Verdict.INFRA and "died 3 times" in result.detail
        (after,) = judge(pool, (problem(), GOOD))
        assert after.verdict is Verdict.PASS


TRAINER = """
import sys, time
from oorl.reward import Job, PoolConfig, RewardPool
from oorl.data.problems import problem_from_json
import json
problem = problem_from_json(json.loads(sys.argv[1]))
with RewardPool(PoolConfig(slots=2)) as pool:
    batch = pool.submit([Job(str(n), problem, f"import time\\ntime.sleep(1000 + {n})\\n", "none") for n in range(8)])
    time.sleep(1.0)
    print(pool._process.pid, flush=True)
    pool.gather(batch, 1000.0)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_survives_the_trainer(number):
    task = problem(limits=Limits(time_s=60.0))
    trainer = subprocess.Popen(
        [sys.executable, "-c", TRAINER, json.dumps(task.to_json())], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    supervisor = int(trainer.stdout.readline())
    family = descendants(supervisor)
    assert len(family) > 3  # the supervisor, and at least one job of launcher, init and program
    trainer.send_signal(number)
    trainer.wait(timeout=30)
    trainer.stdout.close()
    assert all_gone(family)


def test_closing_ends_everything_and_answers_everything():
    pool = RewardPool(PoolConfig(slots=2))
    batch = pool.submit([Job("1", problem(), "import time\ntime.sleep(1000)\n", "none")])
    time.sleep(0.5)
    family = descendants(supervisor_pid(pool))
    pool.close()
    pool.close()  # a second time changes nothing
    assert all_gone(family) and not Path(pool.socket_path).exists()
    assert batch.done and pool.gather(batch)[0].verdict is Verdict.INFRA
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit([])


# The Python launcher


@pytest.mark.slow
def test_the_python_launcher_gives_the_same_verdicts(pool):
    with RewardPool(PoolConfig(slots=2, launcher="python")) as other:
        assert other.level in ("limits", "uid")
        jobs = [(spinning() if due is Verdict.TLE_CPU else problem(), text) for due, text in PROGRAMS["python"].items()]
        jobs += [(STDIN, "print(sum(map(int, input().split())))\n"), (problem(), ATTACKS["allocate"][0])]
        ours, theirs = judge(pool, *jobs), judge(other, *jobs)
        assert [result.tests for result in theirs] == [result.tests for result in ours]
        assert [result.verdict for result in theirs][:6] == list(PROGRAMS["python"])


# Rules without a process


def test_importing_the_pool_loads_no_torch():
    code = "import sys, oorl.reward, oorl.reward.supervisor, oorl.doctor; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_impossible_configurations_are_refused():
    for changes in ({"slots": -1}, {"minimum_isolation": "total"}, {"launcher": "rust"}, {"batch_deadline_s": 0}):
        with pytest.raises(UsageError, match=next(iter(changes))):
            PoolConfig(**changes)
    with pytest.raises(UsageError, match="extract"):
        Job("1", problem(), "", "guess")


def test_isolation_below_the_minimum_is_refused():
    with pytest.raises(UserError, match="below the minimum"):
        RewardPool(PoolConfig(slots=1, launcher="python", minimum_isolation="full"))


def test_configuration_survives_the_journey():
    config = PoolConfig(slots=3, cache_dir=Path("/x"), hidden_paths=("/a", "/b"))
    assert PoolConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_only_a_whole_pass_is_a_reward():
    assert job_verdict([Verdict.PASS] * 3, 3) is Verdict.PASS
    assert job_verdict([Verdict.PASS] * 2, 3) is Verdict.INFRA  # a missing test never passes
    assert job_verdict([], 0) is Verdict.INFRA
    assert job_verdict([Verdict.PASS, Verdict.TLE_CPU, Verdict.WA], 3) is Verdict.TLE_CPU
    assert {verdict: reward(verdict) for verdict in Verdict} == {
        verdict: 1.0 if verdict == "PASS" else None if verdict in ("INFRA", "INVALID_TASK") else 0.0
        for verdict in Verdict
    }


def test_how_a_run_ended():
    limits, language = RunLimits(cpu_s=2.0, memory_mb=100), LANGUAGES["python"]
    cases = [
        (Report(exit_code=0), b"", None),
        (Report(exit_code=0, cpu_s=2.5), b"", Verdict.TLE_CPU),
        (Report(killed="wall"), b"", Verdict.TLE_WALL),
        (Report(killed="memory"), b"", Verdict.MLE),
        (Report(killed="processes"), b"", Verdict.PROC_LIMIT),
        (Report(killed="abandoned"), b"", Verdict.INFRA),
        (Report(error="exec: no"), b"", Verdict.INFRA),
        (Report(signal=24), b"", Verdict.TLE_CPU),
        (Report(signal=25), b"", Verdict.DISK),
        (Report(signal=9, peak_mb=99.0), b"", Verdict.MLE),
        (Report(signal=9, peak_mb=5.0), b"", Verdict.RE),
        (Report(signal=11), b"", Verdict.RE),
        (Report(exit_code=1), b"Traceback\nMemoryError\n", Verdict.MLE),
        (Report(exit_code=1), b"OSError: [Errno 28] No space left on device\n", Verdict.DISK),
        (Report(exit_code=0), b"MemoryError\n", None),  # words alone decide nothing
    ]
    for report, stderr, due in cases:
        assert ending(report, limits, stderr, language)[0] is due, report


def test_only_verdicts_that_load_cannot_change_are_kept():
    cache = OutcomeCache(capacity=2)
    for key, verdict in (
        ("a", Verdict.PASS),
        ("b", Verdict.TLE_CPU),
        ("c", Verdict.INFRA),
        ("d", Verdict.WA),
        ("e", Verdict.CE),
    ):
        cache.keep(key, Outcome.of_all(verdict, 2, ""))
    assert [cache.lookup(key) is not None for key in "abcde"] == [False, False, False, True, True]
