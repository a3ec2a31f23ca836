"""Every rendering agrees with the reference interpreter by execution, and a divergent transliteration does not.

The oracle is independent of the reward pool: hundreds of programs of one language go into one file whose main prints
every result, so a language costs one compilation and one process.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from oorl.programs import (
    DEFAULT,
    IR,
    LANGUAGES,
    TINY,
    Program,
    divergences,
    generate_program,
    make_problem,
    make_tests,
    render,
    supports,
    transliterate,
)  # fmt: skip
from oorl.reward import Job, PoolConfig, RewardPool, Verdict
from oorl.reward.languages import missing_toolchain

TOOLS = {
    "python": "python3",
    "cpp": "g++",
    "c": "gcc",
    "java": "javac",
    "php": "php",
    "bash": "bash",
    "javascript": "node",
}
CPP_TINY = dataclasses.replace(TINY, dialect="cpp")
LIST = {"cpp": "std::vector<%s>{%s}", "java": "new %s[]{%s}"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One program text and the calls to make of it."""

    text: str
    program: Program
    tests: list[dict]


def renamed(text: str, index: int) -> str:
    """The text with its functions numbered, so that many share a file."""
    return re.sub(r"\b(f|g)(?=\()|(?<=\$\()(g)\b", lambda m: f"{m.group()}_{index}", text)


def run_batch(language: str, cases: list[Case], directory: Path) -> list[list]:
    """Results of all calls of all cases, None where a call failed."""
    script, command = BATCHES[language](cases, directory)
    for step in script:
        done = subprocess.run(step, capture_output=True, text=True, cwd=directory, timeout=240)
        assert done.returncode == 0, done.stderr[:3000]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, timeout=240)
    results: list[list] = [[None] * len(case.tests) for case in cases]
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            place, _, answer = line[1:].partition(" ")
            i, j = map(int, place.split(","))
            results[i][j] = parsed(answer, cases[i].program)
    return results


def parsed(answer: str, program: Program):
    kind = program.signature.returns
    try:
        value = json.loads(answer)
    except ValueError:
        return None
    return float(value) if kind.kind == "float" and isinstance(value, (int, float)) else value


def literal(language: str, value, kind) -> str:
    if kind.element:
        inner = ", ".join(literal(language, item, kind.element) for item in value)
        word = {"int": {"cpp": "long long", "java": "long"}, "str": {"cpp": "std::string", "java": "String"}}[
            kind.element.kind
        ]
        return LIST[language] % (word[language], inner) if language in LIST else f"[{inner}]"
    if kind.kind == "str":
        return json.dumps(value).replace("$", "\\$") if language == "php" else json.dumps(value)
    if kind.kind == "bool" and language != "python":
        return str(value).lower()
    return repr(value)


def calls(language: str, cases: list[Case], line: str) -> list[str]:
    made = []
    for i, case in enumerate(cases):
        for j, test in enumerate(case.tests):
            kinds = [kind for _, kind in case.program.signature.params]
            args = ", ".join(literal(language, value, kind) for value, kind in zip(test["args"], kinds, strict=True))
            made.append(line.format(i=i, j=j, call=f"f_{i}({args})"))
    return made


def sources(cases: list[Case]) -> str:
    return "\n".join(renamed(case.text, i) for i, case in enumerate(cases))


def python_batch(cases, directory):
    body = [
        "import json",
        sources(cases),
        "def call(i, j, g):",
        "    try:",
        "        print(f'@{i},{j} {json.dumps(g())}')",
    ]
    body += ["    except Exception:", "        pass"]
    (directory / "t.py").write_text("\n".join(body + calls("python", cases, "call({i}, {j}, lambda: {call})")))
    return [], ["python3", "t.py"]


def javascript_batch(cases, directory):
    body = [
        sources(cases),
        "const call = (i, j, g) => {",
        "try { console.log(`@${i},${j} ` + JSON.stringify(g())); } catch (e) {} };",
    ]
    (directory / "t.js").write_text("\n".join(body + calls("javascript", cases, "call({i}, {j}, () => {call});")))
    return [], ["node", "t.js"]


def php_batch(cases, directory):
    body = ["<?php error_reporting(0);", sources(cases), "function call($i, $j, $g) {"]
    body += ['try { echo "@$i,$j " . json_encode($g()) . "\\n"; } catch (Throwable $e) {} }']
    (directory / "t.php").write_text("\n".join(body + calls("php", cases, "call({i}, {j}, fn() => {call});")))
    return [], ["php", "-n", "t.php"]


def bash_batch(cases, directory):
    body = [
        sources(cases),
        'show() { local kind=$1 place=$2; shift 2; printf \'@%s \' "$place"; "$@" | render $kind; }',
    ]
    body += ['quote() { local s=${1//\\\\/\\\\\\\\}; printf \'"%s"\' "${s//\\"/\\\\\\"}"; }']
    body += ["render() { local line comma=; case $1 in"]
    body += ['int | bool) IFS= read -r line; echo "$line";;']
    body += ['str) IFS= read -r line; quote "$line"; echo;;']
    body += ["*) printf '['; while IFS= read -r line; do printf '%s' \"$comma\"; comma=,"]
    body += ["[[ $1 == strs ]] && quote \"$line\" || printf '%s' \"$line\"; done; echo ']';; esac; }"]
    for i, case in enumerate(cases):
        kind = case.program.signature.returns
        shape = {"int": "ints", "str": "strs"}[kind.element.kind] if kind.element else kind.kind
        for j, test in enumerate(case.tests):
            words = []
            for k, (value, (_, param)) in enumerate(zip(test["args"], case.program.signature.params, strict=True)):
                if param.element:
                    body.append(f"arg_{k}=({' '.join(word(item) for item in value)})")
                words.append(f"arg_{k}" if param.element else word(value))
            body.append(f"show {shape} {i},{j} f_{i} {' '.join(words)} 2>/dev/null")
    (directory / "t.sh").write_text("\n".join(body))
    return [], ["bash", "t.sh"]


def word(value) -> str:
    return str(value).lower() if isinstance(value, bool) else "'" + str(value).replace("'", "'\\''") + "'"


CPP_HEAD = """#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>
static void out(long long v) { printf("%lld", v); }
static void out(double v) { printf("%.17g", v); }
static void out(bool v) { printf(v ? "true" : "false"); }
static void out(const std::string& s) {
    putchar('"');
    for (char c : s) { if (c == '"' || c == '\\\\') putchar('\\\\'); putchar(c); }
    putchar('"');
}
template <class T> static void out(const std::vector<T>& v) {
    putchar('[');
    for (size_t i = 0; i < v.size(); i++) { if (i) putchar(','); out(v[i]); }
    putchar(']');
}
"""


def cpp_batch(cases, directory):
    lines = calls("cpp", cases, '    printf("@{i},{j} "); out({call}); puts("");')
    mains, parts = [], []
    for k in range(0, len(lines), 200):  # one huge main compiles slowly
        parts.append(f"static void part_{k}() {{\n" + "\n".join(lines[k : k + 200]) + "\n}")
        mains.append(f"part_{k}();")
    text = CPP_HEAD + sources(cases) + "\n".join(parts) + f"\nint main() {{ {' '.join(mains)} }}\n"
    (directory / "t.cpp").write_text(text)
    return [["g++", "-std=c++17", "-O0", "-w", "-fsanitize=undefined", "-fno-sanitize-recover", "t.cpp", "-o", "t"]], [
        "./t"
    ]


def c_batch(cases, directory):
    lines = []
    for i, case in enumerate(cases):
        kind = case.program.signature.returns.kind
        form = {"int": "%lld", "float": "%.17g", "bool": "%s"}[kind]
        for j, test in enumerate(case.tests):
            args = []
            for value, (_, param) in zip(test["args"], case.program.signature.params, strict=True):
                if param.element:
                    args += ["(long long[]){" + ", ".join(map(str, [*value, 0])) + "}", str(len(value))]
                else:
                    args.append(literal("c", value, param))
            call = f"f_{i}({', '.join(args)})" + (' ? "true" : "false"' if kind == "bool" else "")
            lines.append(f'    printf("@{i},{j} {form}\\n", {call});')
    head = "#include <math.h>\n#include <stdbool.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
    (directory / "t.c").write_text(head + sources(cases) + "int main(void) {\n" + "\n".join(lines) + "\n}\n")
    return [
        ["gcc", "-std=c11", "-O0", "-w", "-fsanitize=undefined", "-fno-sanitize-recover", "t.c", "-o", "t", "-lm"]
    ], ["./t"]


def java_batch(cases, directory):
    lines = calls("java", cases, "        call({i}, {j}, () -> {call});")
    parts, mains = [], []
    for k in range(0, len(lines), 200):  # a method holds at most 64 KiB of bytecode
        parts.append(f"    static void part_{k}() {{\n" + "\n".join(lines[k : k + 200]) + "\n    }")
        mains.append(f"part_{k}();")
    head = """
    interface Thunk { Object get(); }
    static String json(Object v) {
        if (v instanceof String s) return "\\"" + s.replace("\\\\", "\\\\\\\\").replace("\\"", "\\\\\\"") + "\\"";
        if (v instanceof long[] a) return java.util.Arrays.toString(a);
        if (v instanceof String[] a)
            return "[" + String.join(",", java.util.Arrays.stream(a).map(T::json).toArray(String[]::new)) + "]";
        return String.valueOf(v);
    }
    static void call(int i, int j, Thunk g) {
        try { System.out.println("@" + i + "," + j + " " + json(g.get())); } catch (Exception e) { }
    }
"""
    classes = []
    for i, case in enumerate(cases):
        classes.append(renamed(case.text, i))
    text = "class T {" + head + "\n".join(classes) + "\n".join(parts)
    text += f"\n    public static void main(String[] args) {{ {' '.join(mains)} }}\n}}\n"
    (directory / "T.java").write_text(text)
    return [["javac", "-nowarn", "-XDuseUnsharedTable", "-J-XX:TieredStopAtLevel=1", "T.java"]], [
        "java",
        "-Xshare:auto",
        "-XX:+UseSerialGC",
        "T",
    ]


BATCHES = {
    "python": python_batch, "cpp": cpp_batch, "c": c_batch, "java": java_batch, "php": php_batch, "bash": bash_batch,
    "javascript": javascript_batch,
}  # fmt: skip


def drawn() -> list[tuple[Program, list[dict]]]:
    """The programs of all tests here: small ones of Python's and of C++'s operators, large ones, and C functions."""
    counts = [(TINY, 90), (CPP_TINY, 60), (DEFAULT, 100), (IR, 60)]
    programs = [generate_program(seed, config) for config, count in counts for seed in range(count)]
    return [(program, make_tests(program, 0, 8)) for program in programs]


@pytest.fixture(scope="module")
def programs() -> list[tuple[Program, list[dict]]]:
    return drawn()


def need(language: str) -> None:
    if shutil.which(TOOLS[language]) is None:
        pytest.skip(f"{TOOLS[language]} is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("language", BATCHES)
def test_rendering_agrees_with_the_reference(language, programs, tmp_path):
    need(language)
    cases = [Case(render(p, language), p, tests) for p, tests in programs if supports(p, language) is None]
    assert len(cases) >= 150
    for case, answers in zip(cases, run_batch(language, cases, tmp_path), strict=True):
        expected = [test["returns"] for test in case.tests]
        assert same(answers, expected), f"{case.text}\n{case.tests}\ngot {answers}"


def same(answers: list, expected: list) -> bool:
    return json.dumps(answers) == json.dumps(expected)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["python", "cpp"])
@pytest.mark.parametrize("target", ["python", "cpp", "java", "php", "bash", "javascript"])
def test_transliteration_is_wrong_exactly_where_it_diverges(source, target, programs, tmp_path):
    need(target)
    held = [(p, tests) for p, tests in programs[:150] if supports(p, target) is None]
    divergent = [(p, tests) for p, tests in held if divergences(p, source, target)]
    for p, _ in held:
        assert (transliterate(p, source, target) == render(p, target)) == (not divergences(p, source, target))
    cases = [Case(transliterate(p, source, target), p, tests) for p, tests in divergent]
    if not cases:
        assert source == target or (source, target) in {("cpp", "java"), ("cpp", "bash")}
        return
    results = run_batch(target, cases, tmp_path)
    wrong = [
        not same(answers, [t["returns"] for t in case.tests]) for case, answers in zip(cases, results, strict=True)
    ]
    assert sum(wrong) >= 0.9 * len(wrong)


@pytest.mark.slow
def test_the_reward_pool_rewards_faithful_renderings_and_only_them(programs):
    """The same through the pool: its drivers, its comparison, its verdicts."""
    wrong = set(Verdict) - {Verdict.PASS, Verdict.INFRA, Verdict.INVALID_TASK}
    jobs, due = [], []
    for target in (name for name in LANGUAGES if missing_toolchain(name) is None):
        source = "cpp" if target == "python" else "python"
        small = range(90, 97) if source == "cpp" else range(7)  # of drawn(): those of the source's operators
        for index in (*small, *range(150, 158)):
            program = programs[index][0]
            if supports(program, target) is not None or supports(program, source) is not None:
                continue
            name = f"{target}-{index}"
            problem = make_problem(program, source, target, task_id=name, tests=8, seed=0)
            jobs.append(Job(name, problem, render(program, target), extract="none"))
            due.append({Verdict.PASS})
            if index in small and divergences(program, source, target):
                careless = transliterate(program, source, target)
                jobs.append(Job(f"{name}-careless", problem, careless, extract="none"))
                due.append(wrong)
    assert len(jobs) >= 60
    with RewardPool(PoolConfig(slots=2)) as pool:
        results = pool.gather(pool.submit(jobs), deadline_s=200)
    for job, result, allowed in zip(jobs, results, due, strict=True):
        shown = f"{job.job_id}: {result.verdict} {result.detail}\n{job.completion}\n{job.problem.tests}"
        assert result.verdict in allowed, shown
