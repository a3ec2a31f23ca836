"""One group from one function: winners chosen and verified, losers made, witnessed and graded."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from oorl.data.ir_groups import IRGroup
from oorl.ir.alive import validate
from oorl.ir.clean import NAMING, alpha_sha, externals, instruction_count, reparsed
from oorl.ir.compile import Modules
from oorl.ir.config import FEWEST_INPUTS, IRConfig
from oorl.ir.csource import Source
from oorl.ir.distance import distance, spread, tokens
from oorl.ir.execute import CODEGENS, EVERY_RUN, FIRST_LOOK, Harness, Run
from oorl.ir.frontend import rustc_version
from oorl.ir.inputs import GENERATOR_VERSION, argument_lists, harvest
from oorl.ir.layout import FILLS, Outcome, arguments_json, outcome_json
from oorl.ir.listing import Listing, listing_of
from oorl.ir.llvm import versions
from oorl.ir.mutate import edits_of
from oorl.ir.neutral import NEUTRAL_OPERATORS
from oorl.ir.pipelines import COMPACT, PIPELINES, TIDY, Pipeline, optimise

HARD, MIDDLE = 0.02, 0.1  # bins of the token distance to the nearest winner
ROUNDS, ROUND_SIZE = 4, 14

# Marks of code that nobody wrote; a loser may bear one only where a winner of its group does.
TELLS = re.compile(r"\b(?:poison|undef|unreachable|br i1 true|br i1 false)\b")


class Refused(Exception):
    """The function makes no group; the message is ``kind: reason``, counted by its kind."""


@dataclass(frozen=True)
class Text:
    """A candidate member: its canonical text, the pipeline that made it or its parent, where it comes from."""

    ir: str
    pipeline: Pipeline
    origin: dict


def build_group(source: Source, modules: Modules, config: IRConfig, counts: Counter) -> IRGroup:
    """Build the group of one function; raises Refused. ``counts`` gathers what happened on the way."""
    sha = hashlib.sha256(source.code.encode()).hexdigest()
    stream = f"{config.seed}:{sha}:{source.entry}"
    rng = random.Random(stream)
    if names := externals(modules.b0):
        raise Refused(f"external: calls {', '.join(sorted(names))}")
    pool = _pool(modules, config)
    harness, dropped, expected = _reference(source, modules, config, stream)
    winners, validators = _validated(modules.b0, _winners(pool, harness, expected, config, rng, counts), config, counts)
    losers = _losers(winners, set(pool), harness, expected, config, rng, counts)
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
        winners=tuple(_winner_row(k, text, harness, validators[k]) for k, text in enumerate(winners)),
        losers=tuple(_loser_row(k, loser, parts, harness, expected) for k, loser in enumerate(losers)),
        split=config.split,
        dedup_cluster=source.cluster,
    )


def _reference(
    source: Source, modules: Modules, config: IRConfig, stream: str
) -> tuple[Harness, int, tuple[Outcome, ...]]:
    """A harness on inputs free of undefined behaviour, how many were dropped, and the -O0 module's answers."""
    drawn = itertools.islice(argument_lists(source.signature, stream, harvest(modules.b0)), config.inputs * 4)
    try:
        unique = list({repr(arguments): arguments for arguments in drawn}.values())[: config.inputs * 5 // 4]
        fine = Harness(source.signature, source.entry, unique).free_of_undefined_behaviour(modules.ub)
    except ValueError as err:  # a contract that nothing fulfils
        raise Refused(str(err)) from err
    if len(fine) < FEWEST_INPUTS:
        raise Refused(
            f"undefined: only {len(fine)} of {len(unique)} inputs are free of undefined behaviour and end in time"
        )
    kept = fine[: config.inputs]
    harness = Harness(source.signature, source.entry, [unique[k] for k in kept])
    [reference] = harness.run([modules.b0])
    if reference.failure:
        raise Refused(f"reference: the function itself ends in a {reference.failure}")
    if not reference.stable:
        raise Refused("reference: the function reads or writes outside its buffers, or reads what it never wrote")
    if len(set(reference.runs[0])) < 2:
        raise Refused("constant: the result is the same on every input")
    return harness, kept[-1] + 1 - len(kept), reference.runs[0]


def _pool(modules: Modules, config: IRConfig) -> dict[str, Text]:
    """Every distinct text of the pipelines over both bases."""
    # Most functions too long for the bounds show it at the two most compact pipelines.
    if not any(_fits(optimise(modules.b0, pipeline), config) for pipeline in COMPACT):
        raise Refused("size: even its most compact text is outside the bounds")
    pool: dict[str, Text] = {}
    for base in ("b0", "b1"):
        for pipeline in PIPELINES:
            ir = optimise(getattr(modules, base), pipeline)
            pool.setdefault(ir, Text(ir, pipeline, {"base": base, "pipeline": pipeline.steps}))
    return pool


def _fits(ir: str, config: IRConfig) -> bool:
    return len(ir) <= config.max_chars and instruction_count(ir) <= config.max_instructions and not externals(ir)


def _winners(
    pool: dict[str, Text],
    harness: Harness,
    expected: tuple[Outcome, ...],
    config: IRConfig,
    rng: random.Random,
    counts: Counter,
) -> list[Text]:
    fitting = [text for text in pool.values() if _fits(text.ir, config)]
    counts["distinct"] += len(pool)
    rng.shuffle(fitting)
    # A quarter of the places is kept for neutral edits, the hard positives.
    chosen = [
        fitting[k] for k in spread([tokens(text.ir) for text in fitting], config.max_winners - config.max_winners // 4)
    ]
    if len(chosen) < 2:
        raise Refused(f"winners: {len(chosen)} of {len(pool)} distinct texts within the size bounds")
    neutral = _neutral_edits(chosen, set(pool), config, rng)[: config.max_winners - len(chosen)]
    verified = []
    for text, run in zip(chosen + neutral, harness.run([text.ir for text in chosen + neutral]), strict=True):
        if run.stable and run.runs[0] == expected:
            verified.append(text)
        else:
            steps = "+".join([text.origin["base"], *text.origin["pipeline"]])
            raise Refused(f"mismatch: {steps} answers differently")
    if len(verified) < config.min_winners:
        raise Refused(f"winners: {len(verified)} distinct texts within the size bounds")
    return verified


def _validated(
    reference: str, winners: list[Text], config: IRConfig, counts: Counter
) -> tuple[list[Text], list[dict | None]]:
    """The winners that no validator refutes, and what it says of them."""
    found = zip(winners, validate(reference, [text.ir for text in winners], counts), strict=True)
    kept = [(text, said) for text, said in found if not said or said["verdict"] != "refuted"]
    if len(kept) < config.min_winners:
        raise Refused(f"winners: alive-tv refutes all but {len(kept)} of {len(winners)}")
    return [text for text, _ in kept], [said for _, said in kept]


def _neutral_edits(chosen: list[Text], known: set[str], config: IRConfig, rng: random.Random) -> list[Text]:
    found = []
    for parent in rng.sample(chosen, len(chosen)):
        listing = listing_of(parent.ir)
        edits = edits_of(listing, NEUTRAL_OPERATORS)
        for operator in rng.sample(sorted(edits), len(edits)):
            try:
                ir = reparsed(listing.edited(rng.choice(edits[operator])))
            except ValueError:
                continue
            if ir not in known and _fits(ir, config):
                known.add(ir)
                origin = {**parent.origin, "pipeline": [*parent.origin["pipeline"], f"neutral:{operator}"]}
                found.append(Text(ir, parent.pipeline, origin))
                break
    return found


def _losers(
    winners: list[Text],
    known: set[str],
    harness: Harness,
    expected: tuple[Outcome, ...],
    config: IRConfig,
    rng: random.Random,
    counts: Counter,
) -> list[tuple[Text, Run]]:
    """Mutants that differ on a stable witness: first looks in shared children, the decision in a child for each."""
    known |= {text.ir for text in winners}
    mutants = _mutants(winners, known, config, rng, counts)
    kept: list[tuple[Text, Run]] = []
    for _ in range(ROUNDS):
        candidates = list(itertools.islice(mutants, ROUND_SIZE))
        alive = []
        for text, run in zip(candidates, harness.run([text.ir for text in candidates], FIRST_LOOK), strict=True):
            fate = run.failure or (
                "unstable" if None in run.runs[0] else "equal" if run.runs[0] == expected else "differs"
            )
            _count(counts, text, fate)
            if fate == "differs":
                alive.append(text)
        for text in _varied(alive, kept, config):
            [run] = harness.run([text.ir], EVERY_RUN, isolate=True)
            if run.stable:
                kept.append((text, run))
            else:
                _count(counts, text, "differs", -1)
                _count(counts, text, run.failure or "unstable")
        if len(kept) >= config.max_losers:
            break
    if len(kept) < config.min_losers:
        raise Refused(f"losers: {len(kept)} mutants with a stable witness")
    return kept


def _count(counts: Counter, text: Text, fate: str, step: int = 1) -> None:
    counts[f"mutant {fate}"] += step
    counts[f"operator {text.origin['operators'][0]} {fate}"] += step


def _varied(alive: list[Text], kept: list[tuple[Text, Run]], config: IRConfig) -> Iterator[Text]:
    """The next mutants to decide about, as long as places are free: rare operators first, half of them re-optimised."""
    operators = Counter(text.origin["operators"][0] for text, _ in kept)
    waiting = list(alive)
    while waiting and len(kept) < config.max_losers:
        reopt = sum(text.origin["style"] == "reopt" for text, _ in kept)
        scarce = "reopt" if 2 * reopt < len(kept) + 1 else "direct"
        best = min(waiting, key=lambda text: (text.origin["style"] != scarce, operators[text.origin["operators"][0]]))
        waiting.remove(best)
        before = len(kept)
        yield best
        if len(kept) > before:
            operators[best.origin["operators"][0]] += 1


def _mutants(
    winners: list[Text], known: set[str], config: IRConfig, rng: random.Random, counts: Counter
) -> Iterator[Text]:
    """Valid mutants of random winners by random operators, every other one optimised again; ends when sites run dry."""
    usual = {word for winner in winners for word in TELLS.findall(winner.ir)}
    listings: dict[int, tuple[Listing, dict]] = {}
    misses = made = 0
    while misses < 200:
        parent = rng.randrange(len(winners))
        if parent not in listings:
            listing = listing_of(winners[parent].ir)
            listings[parent] = (listing, edits_of(listing))
        listing, edits = listings[parent]
        misses += 1
        if not edits:
            continue
        operator = rng.choice(sorted(edits))
        edit = rng.choice(edits[operator])
        # Optimised again as its parent was: the edit's traces fold away, and length and style stay the parent's.
        pipeline = winners[parent].pipeline
        again = (pipeline if pipeline.steps else TIDY) if made % 2 else None
        try:
            ir = reparsed(listing.edited(edit))
            if again:
                ir = optimise(ir, again)
        except ValueError:
            counts["mutant invalid"] += 1
            counts[f"operator {operator} invalid"] += 1
            continue
        if ir in known or not _fits(ir, config) or not set(TELLS.findall(ir)) <= usual:
            continue
        known.add(ir)
        misses, made = 0, made + 1
        style = (
            {"style": "reopt", "reopt_pipeline": again.steps} if again else {"style": "direct", "reopt_pipeline": []}
        )
        yield Text(ir, pipeline, {"parent": f"w{parent}", "operators": [operator], "site": edit.line, **style})


def _winner_row(index: int, text: Text, harness: Harness, validator: dict | None) -> dict:
    check = {
        "inputs": len(harness.inputs),
        "fills": len(FILLS),
        "codegens": len(CODEGENS),
        "mismatches": 0,
        "validator": validator,
    }
    return {
        "id": f"w{index}",
        "ir": text.ir,
        **text.origin,
        "n_insts": instruction_count(text.ir),
        "alpha_sha": alpha_sha(text.ir),
        "check": check,
    }


def _loser_row(
    index: int, loser: tuple[Text, Run], winners: list[tuple], harness: Harness, expected: tuple[Outcome, ...]
) -> dict:
    text, run = loser
    got = run.runs[0]
    killing = [k for k in range(len(expected)) if got[k] != expected[k]]
    # The plainest input that shows the difference is the one a person wants to read.
    witness = min(killing, key=lambda k: (len(repr(harness.inputs[k])), k))
    own = tokens(text.ir)
    distances = [distance(own, winner) for winner in winners]
    nearest = min(distances)
    return {
        "id": f"l{index}",
        "ir": text.ir,
        **text.origin,
        "n_insts": instruction_count(text.ir),
        "alpha_sha": alpha_sha(text.ir),
        "witness": {
            "input": witness,
            "kind": "ret" if got[witness].ret != expected[witness].ret else "memory",
            "expected": outcome_json(harness.layout.signature, expected[witness]),
            "got": outcome_json(harness.layout.signature, got[witness]),
        },
        "kill_rate": round(len(killing) / len(expected), 4),
        "distance_parent": round(distances[int(text.origin["parent"][1:])], 4),
        "distance_nearest": round(nearest, 4),
        "bin": "hard" if nearest < HARD else "mid" if nearest < MIDDLE else "easy",
    }
