"""Standard input as programs ask for it: what is written fits the format, ends, and is the same for the same seed."""

from __future__ import annotations

import re

import pytest

from oorl.ir.stdin import MOST_BYTES, Writer

SEEDS = [f"stdin:{k}" for k in range(200)]


def answers(asked: bytes | None, seed: str, constants: tuple[int, ...] = ()) -> bytes:
    return Writer(seed, list(constants)).answer(asked)


@pytest.mark.parametrize(
    ("asked", "pattern"),
    [
        (b"%d", r"-?\d+"),
        (b"%i %lld%u", r"-?\d+ -?\d+\s-?\d+"),
        (b"%dx%d", r"-?\d+x-?\d+"),
        (b"%d:%d", r"-?\d+:-?\d+"),
        (b"(%d,%*d)\n%s", r"\(-?\d+,-?\d+\)\n[a-zA-Z0-9]{1,8}"),
        (b"%lf", r"-?\d+(?:\.\d+)?"),
        (b"%3s", r"[a-zA-Z0-9]{1,3}"),
        (b" %c", r" [a-zA-Z0-9\n]"),
        (b"%x", r"[0-9a-f]+"),
        (b"%[a-c]", r"[a-c]{1,8}"),
        (b"%4[^\n]", r"[a-zA-Z0-9 ]{1,4}"),
        (b"%d%%\n", r"-?\d+%"),
        (b"%d\n", r"-?\d+"),
        (None, r"[a-zA-Z0-9 -]*\n"),
    ],
)
def test_what_is_written_fits_what_is_asked(asked, pattern):
    written = [answers(asked, seed).decode() for seed in SEEDS]
    # A plan may run out of values within a format of several: what is there is its beginning.
    full = [text for text in written if re.fullmatch(pattern, text)]
    assert len(full) >= 0.6 * len(written) and len(set(written)) >= 5
    if asked in (b"%d", b"%s", b" %c", b"%lf", None):
        assert len(full) == len(written)


def test_successive_values_stay_apart_and_characters_follow_as_they_are():
    for seed in SEEDS:
        writer = Writer(seed, [])
        first = [writer.answer(b"%d") for _ in range(3)]
        tokens = writer.text().split()
        assert len(tokens) == sum(bool(part.strip()) for part in first)
        assert all(re.fullmatch(rb"-?\d+", token) for token in tokens)
        if not writer.ended:  # a character after a number is the white space that ends it
            assert writer.answer(None) in (b"\n", b" ")


def test_a_format_that_ends_in_white_space_finds_a_value_behind_it():
    for seed in SEEDS:
        writer = Writer(seed, [])
        writer.answer(b"%d\n")
        if writer.answer(None) and not writer.ended:
            assert re.fullmatch(rb"-?\d+|", writer.answer(None))


def test_every_text_ends_and_too_long_ones_are_none():
    lengths = []
    for seed in SEEDS:
        writer = Writer(seed, [])
        asked = 0
        while writer.answer(b"%d") and asked < 10_000:
            asked += 1
        assert asked < 10_000 and writer.answer(None) == b"" == writer.answer(b"%s")
        lengths.append(len(writer.text()))
    assert max(lengths) < MOST_BYTES and len(set(lengths)) > 20
    writer = Writer("long", [])
    while writer.answer(b"a long literal text, and another: %s"):
        pass
    assert writer.text() == b""


def test_endings_are_zeros_minus_one_or_the_end_of_the_file():
    endings = set()
    for seed in SEEDS:
        writer = Writer(seed, [])
        while writer.answer(b"%d"):
            pass
        last = writer.text().split()[-8:]
        endings.add(last[0] if len(set(last)) == 1 and len(last) == 8 else b"")
    assert endings >= {b"0", b"-1", b""}


def test_constants_of_the_program_occur_and_seeds_decide():
    letters = b"".join(answers(b"%c", seed, (ord("+"), ord("*"))) for seed in SEEDS)
    assert b"+" in letters and b"*" in letters
    assert any(set(answers(b"%s", seed, (35, 46)).decode()) == {"#", "."} for seed in SEEDS)  # a map, say
    numbers = {answers(b"%d", seed, (777,)) for seed in SEEDS}
    assert b"777" in numbers
    assert [answers(b"%d %s", seed) for seed in SEEDS] == [answers(b"%d %s", seed) for seed in SEEDS]
