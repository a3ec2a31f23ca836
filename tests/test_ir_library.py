"""The library of functions: all compile, all have a contract, and some are compared with Python definitions."""

from __future__ import annotations

import datetime
import itertools
import math
import re
import shutil
import zlib

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from oorl.ir.clean import externals  # noqa: E402
from oorl.ir.compile import CompileError, compile_sources  # noqa: E402
from oorl.ir.execute import GUARDED, Harness  # noqa: E402
from oorl.ir.group import on_defined_inputs  # noqa: E402
from oorl.ir.inputs import argument_lists  # noqa: E402
from oorl.ir.layout import arguments_json, outcome_json  # noqa: E402
from oorl.ir.library import library_files, library_sources  # noqa: E402

HAVE_RUST = shutil.which("rustc") is not None


def compiled_of(sources) -> dict:
    """Name -> (source, modules), compiled a file of the library at a time."""
    found = {}
    for _, group in itertools.groupby(sources, key=lambda source: source.name.split(":")[0]):
        group = list(group)
        for source, modules in zip(group, compile_sources(group), strict=True):
            found[source.name] = (source, modules)
    return found


@pytest.fixture(scope="module")
def sources():
    found, refused = library_sources(rust=HAVE_RUST)
    assert [name for name, _ in refused] == ([] if HAVE_RUST else ["various.rs"])
    return found


@pytest.fixture(scope="module")
def compiled(sources):
    names = {*MEANING, "dates.c:day_of_week", *WRITTEN}
    return compiled_of([source for source in sources if source.name in names])


@pytest.mark.slow
def test_every_function_compiles_and_calls_nothing_else(sources):
    for name, (_, modules) in compiled_of(sources).items():
        assert not isinstance(modules, CompileError), (name, modules)
        assert not externals(modules.b0), name


def test_every_function_has_a_comment_and_a_contract(sources):
    languages = [source.language for source in sources]
    assert languages.count("c") >= 120 and languages.count("cpp") >= 20
    assert languages.count("rust") >= 20 or not HAVE_RUST
    for source in sources:
        assert source.signature.contract and source.licence == "Apache-2.0", source.name
    for path in library_files():
        lines = path.read_text(encoding="ascii").splitlines()
        for above, line in itertools.pairwise(lines):
            assert not line.startswith("// contract:") or re.match(r"///? [A-Z1]", above), (path.name, line)


def roman(s):
    values = [dict(I=1, V=5, X=10, L=50, C=100)[c] for c in s]
    return sum(v if all(v >= w for w in values[k + 1 : k + 2]) else -v for k, v in enumerate(values))


def edit_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(edit_distance(a[1:], b) + 1, edit_distance(a, b[1:]) + 1, edit_distance(a[1:], b[1:]) + (a[0] != b[0]))


def luhn(digits, _):
    doubled = [d if k % 2 == 0 else sum(divmod(2 * d, 10)) for k, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def fields(row):
    return {key: int(value) for key, value in row[0].items()}


def overlap(a, b):
    a, b = fields(a), fields(b)
    return len(set(range(a["lo"], a["hi"])) & set(range(b["lo"], b["hi"])))


# What the functions mean, written apart from them: the oracle. Arguments are numbers, texts and lists of them.
MEANING = {
    "strings.c:count_words": lambda s: len(s.split()),
    "strings.c:find_substring": lambda hay, needle: hay.find(needle),
    "strings.c:is_palindrome": lambda s: s == s[::-1],
    "parsing.c:roman_value": roman,
    "arrays.c:inversions": lambda xs, n: sum(a > b for a, b in itertools.combinations(xs, 2)),
    "search_sort.c:kth_smallest": lambda xs, n, k: sorted(xs)[k],
    "two_pointers.c:is_subsequence": lambda part, whole: (lambda it: all(c in it for c in part))(iter(whole)),
    "checksums.c:adler32": lambda data, n: zlib.adler32(bytes(data)),
    "checksums.c:luhn_valid": luhn,
    "bits.c:popcount32": lambda x: x.bit_count(),
    "bits.c:swap_bytes": lambda x: int.from_bytes(x.to_bytes(4, "little"), "big"),
    "numbers.c:gcd": math.gcd,
    "numbers.c:integer_root": math.isqrt,
    "numbers.c:binomial": lambda n, k: math.comb(n, k) if 0 <= k <= n else 0,
    "numbers.c:totient": lambda n: sum(math.gcd(k, n) == 1 for k in range(1, n + 1)),
    "structs.c:overlap": overlap,
    "dynamic.c:edit_distance": edit_distance,
    "graphs.c:triangles": lambda adj, n: sum(
        adj[i * n + j] and adj[i * n + k] and adj[j * n + k] for i in range(n) for j in range(i) for k in range(j)
    ),
    "various.cpp:lexicographic": lambda a, n, b, m: (a > b) - (a < b),
    "various.rs:longest_run": lambda xs, _: max((len(list(g)) for _, g in itertools.groupby(xs)), default=0),
    "various.rs:sum_of_squares": lambda xs, _: sum(x * x for x in xs),
}


# And of those that write a text.
WRITTEN = {
    "strings.c:trim_copy": lambda s: s.strip(" "),
    "encodings.c:to_hex": lambda data: bytes(map(int, data)).hex(),
}


def plain(value):
    """A stored argument as Python has it."""
    if isinstance(value, list):
        return [item if isinstance(item, dict) else int(item) for item in value]
    return int(value) if re.fullmatch(r"-?\d+", value) else value


@pytest.mark.parametrize("name", MEANING)
def test_references_agree_with_their_definition(compiled, name):
    if name.endswith(".rs") or ".rs:" in name:
        if not HAVE_RUST:
            pytest.skip("rustc is not on PATH")
    source, modules = compiled[name]
    inputs = list(itertools.islice(argument_lists(source.signature, "test", []), 30))
    harness, fine = on_defined_inputs(Harness(source.signature, source.entry, inputs), modules)
    assert len(fine) == len(inputs), "the contract keeps undefined behaviour out"
    [run] = harness.run([modules.b0], GUARDED)
    texts = {p.name for p in source.signature.params if p.is_text}
    for arguments, outcome in zip(inputs, run.runs[0], strict=True):
        row = arguments_json(source.signature, arguments)
        own = [v if p.name in texts else plain(v) for p, v in zip(source.signature.params, row, strict=True)]
        assert outcome_json(source.signature, outcome)["ret"] == str(int(MEANING[name](*own))), row


def test_days_of_the_calendar(compiled):
    source, modules = compiled["dates.c:day_of_week"]
    inputs = [
        [year, month, day] for year in (1700, 1900, 2000, 2024, 2299) for month in (1, 2, 3, 12) for day in (1, 28)
    ]
    [run] = Harness(source.signature, source.entry, inputs).run([modules.b0], GUARDED)
    for arguments, outcome in zip(inputs, run.runs[0], strict=True):
        assert outcome_json(source.signature, outcome)["ret"] == str(datetime.date(*arguments).isoweekday() % 7)


def test_written_buffers_agree_with_their_definition(compiled):
    for name, meaning in WRITTEN.items():
        source, modules = compiled[name]
        inputs = list(itertools.islice(argument_lists(source.signature, "test", []), 20))
        [run] = Harness(source.signature, source.entry, inputs).run([modules.b0], GUARDED)
        for arguments, outcome in zip(inputs, run.runs[0], strict=True):
            written = outcome_json(source.signature, outcome)["memory"]["out"]
            assert written.split("\0")[0] == meaning(arguments_json(source.signature, arguments)[0])
