"""The generator of C functions: the same from every seed, clean C with honest contracts, varied, good for groups."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from oorl.ir import IRConfig, build_groups  # noqa: E402
from oorl.ir.compile import CompileError, batches_of, compile_sources  # noqa: E402
from oorl.ir.csource import sources_of_parts, split_c  # noqa: E402
from oorl.ir.execute import Harness  # noqa: E402
from oorl.ir.frontend import CLANG, CLANG_FLAGS, PRELUDE, run_compiler, zig  # noqa: E402
from oorl.ir.generator import function_sources, generated_sources, program_sources  # noqa: E402
from oorl.ir.generator.assemble import random_function  # noqa: E402
from oorl.ir.generator.identity import identity_of  # noqa: E402
from oorl.ir.inputs import argument_lists, harvest  # noqa: E402
from oorl.ir.llvm import architecture  # noqa: E402
from oorl.ir.reverify import reverify  # noqa: E402

MANY = 300
SEED = 18


@pytest.fixture(scope="module")
def sources():
    return list(itertools.islice(function_sources(SEED), MANY))


@pytest.fixture(scope="module")
def modules(sources):
    return compile_sources(sources[:40])


def test_the_same_seed_gives_the_same_functions_whatever_the_hash_seed():
    script = (
        "import hashlib, itertools\nfrom oorl.ir.generator import generated_sources\n"
        "rows = [repr(source.to_json()) for source in itertools.islice(generated_sources(17), 60)]\n"
        "print(hashlib.sha256(''.join(rows).encode()).hexdigest())"
    )
    said = set()
    for hash_seed in ("0", "1"):
        root = str(Path(__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
        )
        said.add(done.stdout.strip())
    rows = [repr(source.to_json()) for source in itertools.islice(generated_sources(17), 60)]
    assert said == {hashlib.sha256("".join(rows).encode()).hexdigest()}


def test_the_mix_is_three_to_one_and_names_are_unique():
    mixed = list(itertools.islice(generated_sources(3), 40))
    assert [source.name.split("-")[0] for source in mixed] == ["fn", "fn", "fn", "gen"] * 10
    assert len({source.name for source in mixed}) == 40
    assert mixed[3::4] == list(itertools.islice(program_sources(3), 10))
    assert all(source.licence == "Apache-2.0" for source in mixed)


def test_consecutive_seeds_share_no_stream(sources):
    own = {source.origin.split()[2] for source in sources}
    other = {source.origin.split()[2] for source in itertools.islice(function_sources(SEED + 1), MANY)}
    assert len(own) == len(other) == MANY and not own & other
    assert len({source.cluster for source in sources}) >= 0.97 * MANY


def test_programs_come_in_the_order_they_always_had():
    first = next(program_sources(5))
    own = int.from_bytes(hashlib.sha256(b"ir:5:0").digest()[:7], "big")
    assert (first.name, first.origin) == ("gen-5-0", f"oorl.programs seed {own}")


# Every feature that the generator is asked to cover, as a person would look for it in C.
FEATURES = {
    "int": r"\bint\b", "unsigned": r"\bunsigned [a-z]\w* =", "long long": r"\blong long\b", "short": r"\bshort\b",
    "unsigned char": r"\bunsigned char\b", "bool": r"\bbool\b", "float": r"\bfloat\b", "double": r"\bdouble\b",
    "fixed widths": r"\buint8_t|\bint64_t|\buint32_t", "const buffer": r"\(.*const (?:int|double|short) \*\w+",
    "mutable buffer": r"\([^()]*(?<!const )\b(?:int|double|short|float) \*\w+", "for": r"\bfor \(int",
    "downwards": r"; \w+--\)", "while": r"\bwhile \(", "do": r"\bdo \{", "break": r"(?s)\A(?!.*switch).*\bbreak;",
    "continue": r"\bcontinue;", "nested loops": r"for \(.*\{\n\s+(?:.*\n)?\s+for \(",
    "pointer walk": r"< \w+ \+ \w+; \w+\+\+",
    "early return": r"\n {8}return", "matrix": r"\[\w+ \* \w+ \+ \w+\]", "const text": r"const char \*",
    "text": r"\(char \*", "NUL": r"'\\0'", "struct pointer": r"->\w+", "struct array": r"\w+\[\w+\]\.\w+",
    "field array": r"->\w+\[\w+\]",
    "switch": r"\bswitch \(", "conditional": r" \? .* : ", "and": r" && ", "or": r" \|\| ", "shift": r" >> \d| << \d",
    "bit operation": r" [&^] ", "cast": r"\((?:int|unsigned|double|long long|unsigned char)\)", "helper": r"^static ",
    "table": r"\bstatic const \w+ \w+\[\d+\] = ", "local array": r"\w+\[4\] = \{0\}", "itself": r"return (\w+)\(\w+ /",
    "swap": r"(\S+) = (\S+);\n\s+\2 = (\w+);\n", "remainder": r" % \d", "else": r"\belse\b", "void": r"^void ",
    "compound": r" [+-]= ", "swap of structs": r"struct \w+ held = ",
}  # fmt: skip


def test_every_feature_occurs(sources):
    texts = [source.code for source in sources]
    missing = {name for name, pattern in FEATURES.items() if not any(re.search(pattern, t, re.M) for t in texts)}
    assert not missing
    skeletons = {name for source in sources for name in source.origin.split(", ")[1].split("+")}
    assert len(skeletons) >= 55


def test_functions_have_the_size_that_people_write(sources):
    lines = sorted(len(source.code.splitlines()) for source in sources)
    assert 8 <= lines[MANY // 2] <= 14 and lines[-1] <= 50


def test_every_contract_is_the_signatures(sources):
    for source in sources:
        assert source.signature.contract or not source.signature.buffers
        for p in source.signature.buffers:
            assert p.rule.length or p.rule.text, (source.name, p.name)
        again = type(source.signature).from_json(source.signature.to_json())
        assert again == source.signature
        for arguments in itertools.islice(argument_lists(source.signature, source.name, []), 5):
            values = dict(zip([p.name for p in source.signature.params], arguments, strict=True))
            for p in source.signature.buffers:
                if p.rule.text:
                    assert chr(0) not in map(chr, values[p.name][:-1]) and values[p.name][-1] == 0
                else:
                    sizes = {**values, **{f"len({q})": len(v) - 1 for q, v in values.items() if isinstance(v, list)}}
                    assert len(values[p.name]) == p.rule.length.value(sizes)


def test_a_compiler_has_nothing_to_say(sources, tmp_path):
    """All functions in one file, every warning an error but those of style: mixed signs, and parentheses."""
    [(language, batch)] = batches_of(sources)
    texts = [re.sub(rf"\b{s.entry}\b(?=\()", f"f{k}_{s.entry}", s.code) for k, s in enumerate(sources)]
    functions = []
    for k, text in enumerate(texts):
        for function in split_c(text).functions:
            if function.name != f"f{k}_{sources[k].entry}":
                text = re.sub(rf"\b{function.name}\b(?=\()", f"h{k}_{function.name}", text)
        functions += [function.text for function in split_c(text).functions]
    path = tmp_path / "all.c"
    path.write_text(PRELUDE["c"] + "\n".join([*batch.declarations, *functions]))
    warnings = "-Wall -Wextra -Werror -Wno-sign-compare -Wno-parentheses -Wno-unused-command-line-argument"
    flags = [flag for flag in CLANG.split() if flag != "-w"] + CLANG_FLAGS["b0"] + warnings.split()
    command = zig("cc", "-target", f"{architecture()}-linux-gnu", "-std=gnu17", *flags, str(path), "-o", f"{path}.ll")
    done = run_compiler(command, str(tmp_path))
    assert language == "c" and done.returncode == 0, done.stderr[:2000]


def test_most_inputs_are_defined(sources, modules):
    """Under their contracts, by the sanitizer: sums overflow now and then, and nothing else goes wrong."""
    poor = []
    for source, module in zip(sources, modules, strict=False):
        assert not isinstance(module, CompileError), (source.code, module)
        drawn = itertools.islice(argument_lists(source.signature, source.name, harvest(module.b0)), 96)
        inputs = list({repr(arguments): arguments for arguments in drawn}.values())
        harness = Harness(source.signature, source.entry, inputs)
        fine = harness.free_of_undefined_behaviour(module.ub)
        if len(fine) < min(16, len(inputs)):
            poor.append(source.name)
            continue
        [run] = Harness(source.signature, source.entry, [inputs[k] for k in fine]).run([module.b0])
        assert not run.failure and run.stable, source.code  # ends in time, and stays within its buffers
    assert len(poor) <= len(modules) // 20, poor


def test_groups_of_generated_functions_reproduce():
    config = IRConfig(max_winners=5, max_losers=4, inputs=32)
    outcomes = list(build_groups(itertools.islice(function_sources(2), 6), config, jobs=1))
    kept = [outcome.group for outcome in outcomes if outcome.group]
    assert len(kept) >= 4, [outcome.reason for outcome in outcomes]
    for group in kept[:3]:
        assert reverify(group) is None


ONE = """
struct pair { int lo; int hi; };
static int half(int x) { return x / 2; }
int spread(const struct pair *p, int n, int lo) {
    int total = 0;
    for (int i = 0; i < n; i++)
        total += half(p[i].hi - p[i].lo) + lo * 16;
    return total > 'a' ? total : -1;
}
"""


def identity_after(*changes: tuple[str, str]) -> str:
    code = ONE
    for pattern, new in changes:
        code, count = re.subn(pattern, new, code)
        assert count
    return identity_of(code)


@pytest.mark.parametrize(
    "changes",
    [
        [(r"\btotal\b", "acc"), (r"\bspread\b", "f"), (r"\bhalf\b", "g"), (r"\bi\b", "k")],
        [(r"\bpair\b", "range"), (r"(?<=\.)lo\b|(?<=int )lo(?=;)", "first"), (r"\bhi\b", "second")],
        [(r"(?<=int )lo(?=\))|\blo(?= \*)", "offset")],
        [(r"\n\s*", " "), (r" \+= ", "+=")],
        [(r"\b16\b", "0x10"), (r"'a'", "97")],
    ],
    ids=["names", "fields", "a parameter called as a field", "white space", "spelling of numbers"],
)
def test_one_program_has_one_identity(changes):
    assert identity_after(*changes) == identity_of(ONE)


@pytest.mark.parametrize(
    "change",
    [(r" 16\b", " 17"), (r"\.hi - p\[i\]\.lo", ".lo - p[i].hi"), (r"> 'a'", ">= 'a'"), (r"int n,", "short n,"),
     (r"/ 2", "/ 2u"), (r"half\(p", "(p"), (r"lo \* 16", "n * 16")],
    ids=["a number", "fields", "an operator", "a type", "a suffix", "a call", "a name's meaning"],
)  # fmt: skip
def test_another_program_has_another_identity(change):
    assert identity_after(change) != identity_of(ONE)


def test_types_of_fixed_width_are_no_difference():
    assert identity_of("#include <stdint.h>\nuint8_t f(int64_t a) { return (uint8_t)a; }") == identity_of(
        "unsigned char f(long long a) { return (unsigned char)a; }"
    )


def test_renamed_functions_keep_their_clusters(sources):
    for source in sources[:60]:
        names = {f.name for f in split_c(source.code).functions} | {p.name for p in source.signature.params}
        words = set(re.findall(r"\w+", source.code))
        code = source.code
        for k, name in enumerate(sorted(names)):
            fresh = next(f"q{k}{end}" for end in ("", "_", "_x") if f"q{k}{end}" not in words)
            code = re.sub(rf"(?<![.\w])(?<!->){name}\b(?!;? ?\}})", fresh, code) if name not in FIELDS else code
        assert identity_of(code) == source.cluster, code


FIELDS = frozenset(
    name
    for seed in range(400)
    for struct in re.findall(r"struct \w+ \{([^{}]*)\};", random_function(seed).code)
    for name in re.findall(r"(\w+)(?:\[\d+\])?;", struct)
) | frozenset(tag for seed in range(400) for tag in re.findall(r"struct (\w+) \{", random_function(seed).code))


def test_a_contract_that_was_drawn_reads_as_one():
    drawn = [random_function(seed) for seed in range(60)]
    for function in drawn:
        found, refused = sources_of_parts(split_c(function.code), "x", "Apache-2.0", "x")
        assert not refused and [source.entry for source in found] == [function.entry]
        assert random_function(drawn.index(function)) == function
