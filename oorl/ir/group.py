"""One group from one function: winners chosen and verified, losers made, witnessed and graded."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter

from oorl.data.ir_groups import IRGroup
from oorl.ir.candidate import Refused
from oorl.ir.clean import NAMING, externals
from oorl.ir.compile import Modules
from oorl.ir.config import FEWEST_INPUTS, IRConfig
from oorl.ir.csource import Source
from oorl.ir.distance import tokens
from oorl.ir.execute import GUARDED, Harness
from oorl.ir.frontend import rustc_version
from oorl.ir.inputs import GENERATOR_VERSION, argument_lists, harvest
from oorl.ir.layout import Outcome, arguments_json, outcome_json
from oorl.ir.llvm import versions
from oorl.ir.losers import choose_losers, loser_row
from oorl.ir.programs import MOST_PROGRAM_INPUTS, ProgramHarness, program_inputs
from oorl.ir.state import kept_between_calls
from oorl.ir.winners import choose_winners, distinct_texts, winner_row


def build_group(source: Source, modules: Modules, config: IRConfig, counts: Counter) -> IRGroup:
    """Build the group of one function; raises Refused. ``counts`` gathers what happened on the way."""
    sha = hashlib.sha256(source.code.encode()).hexdigest()
    stream = f"{config.seed}:{sha}:{source.entry}"
    rng = random.Random(stream)
    if names := externals(modules.b0):
        raise Refused(f"external: calls {', '.join(sorted(names))}")
    if source.signature.mode == "call" and (names := kept_between_calls(modules.b0)):
        raise Refused(f"state: keeps {', '.join(names)} between calls")
    pool = distinct_texts(modules, config)
    harness, dropped, expected = _reference(source, modules, config, stream)
    winners = choose_winners(pool, modules.b0, harness, expected, config, rng, counts)
    losers = choose_losers(winners, set(pool), harness, expected, config, rng, counts)
    parts = [tokens(text.ir) for text in winners]
    rows = [arguments_json(source.signature, arguments) for arguments in harness.inputs]
    return IRGroup(
        group_id=f"{source.name}-{sha[:8]}",
        source={
            "language": source.language,
            "code": source.code,
            "entry": source.entry,
            "sha256": sha,
            "licence": source.licence,
            "origin": source.origin,
        },
        signature=source.signature.to_json(),
        inputs={
            "seed": stream,
            "generator_version": GENERATOR_VERSION,
            "n": len(rows),
            "n_ub_dropped": dropped,
            "args": rows,
            "expected": [outcome_json(source.signature, outcome) for outcome in expected],
        },
        toolchain={**versions(), **({"frontend": rustc_version()} if source.language == "rust" else {})},
        naming=NAMING,
        winners=tuple(winner_row(k, text, len(rows)) for k, text in enumerate(winners)),
        losers=tuple(loser_row(k, loser, parts, harness, expected) for k, loser in enumerate(losers)),
        split=config.split,
        dedup_cluster=source.cluster,
    )


def _reference(
    source: Source, modules: Modules, config: IRConfig, stream: str
) -> tuple[Harness, int, tuple[Outcome, ...]]:
    """A harness on inputs free of undefined behaviour, how many were dropped, and the -O0 module's answers."""
    most = config.inputs
    try:
        if source.signature.mode == "stdin":
            most = min(most, MOST_PROGRAM_INPUTS)
            harness = ProgramHarness(program_inputs(modules.ub, stream, harvest(modules.b0), 4 * most))
        else:
            harness = Harness(source.signature, source.entry, _argument_lists(source, modules, config, stream))
    except ValueError as err:  # a contract that nothing fulfils
        raise Refused(str(err)) from err
    harness, fine = on_defined_inputs(harness, modules)
    if len(fine) < FEWEST_INPUTS:
        count = len(harness.inputs)
        raise Refused(f"undefined: only {len(fine)} of {count} inputs are free of undefined behaviour and end in time")
    kept = fine[:most]
    harness = harness.on([harness.inputs[k] for k in kept])
    [reference] = harness.run([modules.b0])
    if reference.failure:
        raise Refused(f"reference: the function itself ends in a {reference.failure}")
    if not reference.stable:
        raise Refused("reference: the function reads or writes outside its buffers, or reads what it never wrote")
    if len(set(reference.runs[0])) < 2:
        raise Refused("constant: the result is the same on every input")
    return harness, kept[-1] + 1 - len(kept), reference.runs[0]


def on_defined_inputs(harness: Harness, modules: Modules) -> tuple[Harness, list[int]]:
    """A harness, and the indices of the inputs on which the function is free of undefined behaviour.

    Bit-fields, and Rust's enums without a payload, are copied with what was never written in them; where the answers
    do not rest on it, that is no undefined behaviour, and the harness that comes back lets such reads pass.
    """
    fine = harness.free_of_undefined_behaviour(modules.ub)
    if len(fine) == len(harness.inputs) or not harness.strict:
        return harness, fine
    lenient = Harness(harness.signature, harness.entry, harness.inputs, strict=False)
    more = lenient.free_of_undefined_behaviour(modules.ub)
    if more != fine and lenient.on([harness.inputs[k] for k in more]).run([modules.b0], GUARDED)[0].stable:
        return lenient, more
    return harness, fine


def _argument_lists(source: Source, modules: Modules, config: IRConfig, stream: str) -> list[list]:
    """Argument lists that differ, somewhat more than are kept."""
    most = config.inputs * 5 // 4
    drawn = itertools.islice(argument_lists(source.signature, stream, harvest(modules.b0)), config.inputs * 4)
    unique: dict[str, list] = {}
    while len(unique) < most and (arguments := next(drawn, None)) is not None:
        unique.setdefault(repr(arguments), arguments)
    return list(unique.values())
