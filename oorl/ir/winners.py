"""The winners of a group: texts of one function that lie far apart, and hard positives one neutral edit away."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from oorl.ir.alive import validate
from oorl.ir.candidate import Refused, Text, fits
from oorl.ir.clean import alpha_sha, instruction_count, reparsed
from oorl.ir.compile import Modules
from oorl.ir.config import IRConfig
from oorl.ir.distance import spread, tokens
from oorl.ir.execute import AS_IT_IS, CODEGENS, Harness
from oorl.ir.layout import Outcome
from oorl.ir.listing import listing_of
from oorl.ir.mutate import edits_of
from oorl.ir.neutral import NEUTRAL_OPERATORS
from oorl.ir.pipelines import COMPACT, PIPELINES, optimise


def distinct_texts(modules: Modules, config: IRConfig) -> dict[str, Text]:
    """Every distinct text of the pipelines over both bases."""
    # Most functions too long for the bounds show it at the two most compact pipelines.
    if not any(fits(optimise(modules.b0, pipeline), config) for pipeline in COMPACT):
        raise Refused("size: even its most compact text is outside the bounds")
    pool: dict[str, Text] = {}
    for pipeline in PIPELINES:
        for base in pipeline.bases:
            ir = optimise(getattr(modules, base), pipeline)
            pool.setdefault(ir, Text(ir, pipeline, {"base": base, "pipeline": pipeline.steps}))
    return pool


def choose_winners(
    pool: dict[str, Text],
    reference: str,
    harness: Harness,
    expected: tuple[Outcome, ...],
    config: IRConfig,
    rng: random.Random,
    counts: Counter,
) -> list[Text]:
    """Texts far apart and neutral edits of some of them, all of which answer as expected and none of which alive-tv
    (where it is installed) refutes against the ``reference`` text; raises Refused.
    """
    fitting = [text for text in pool.values() if fits(text.ir, config)]
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
    for text, run in zip(chosen + neutral, harness.run([text.ir for text in chosen + neutral], AS_IT_IS), strict=True):
        if run.stable and run.runs[0] == expected:
            verified.append(text)
        else:
            steps = "+".join([text.origin["base"], *text.origin["pipeline"]])
            raise Refused(f"mismatch: {steps} answers differently")
    if len(verified) < config.min_winners:
        raise Refused(f"winners: {len(verified)} distinct texts within the size bounds")
    return _validated(reference, verified, config, counts)


def _validated(reference: str, winners: list[Text], config: IRConfig, counts: Counter) -> list[Text]:
    """The winners that no validator refutes, each with what it says."""
    said = validate(reference, [text.ir for text in winners], counts)
    kept = [
        replace(text, validator=own)
        for text, own in zip(winners, said, strict=True)
        if not own or own["verdict"] != "refuted"
    ]
    if len(kept) < config.min_winners:
        raise Refused(f"winners: alive-tv refutes all but {len(kept)} of {len(winners)}")
    return kept


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
            if ir not in known and fits(ir, config):
                known.add(ir)
                origin = {**parent.origin, "pipeline": [*parent.origin["pipeline"], f"neutral:{operator}"]}
                found.append(Text(ir, parent.pipeline, origin))
                break
    return found


def winner_row(index: int, text: Text, inputs: int) -> dict:
    """A winner as the record holds it."""
    check = {
        "inputs": inputs,
        "fills": len({way.fill for way in AS_IT_IS}),
        "codegens": len(CODEGENS),
        "mismatches": 0,
        "validator": text.validator,
    }
    return {
        "id": f"w{index}",
        "ir": text.ir,
        **text.origin,
        "n_insts": instruction_count(text.ir),
        "alpha_sha": alpha_sha(text.ir),
        "check": check,
    }
