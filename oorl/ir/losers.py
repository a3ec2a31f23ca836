"""The losers of a group: mutants with a stable witness, chosen so that nothing but what they do tells them apart.

Every loser stands for one winner and is taken among those that look like it: length, counts, flags. Half of them are
optimised again, so that traces of the edit fold away; that makes texts shorter, which the choice makes up for.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from oorl.ir.candidate import Refused, Text, fits, looks, unlikeness
from oorl.ir.clean import alpha_sha, instruction_count, reparsed
from oorl.ir.config import IRConfig
from oorl.ir.distance import distance, tokens
from oorl.ir.execute import Harness, Run
from oorl.ir.layout import Outcome, difference, outcome_json
from oorl.ir.listing import Listing, listing_of
from oorl.ir.mutate import edits_of
from oorl.ir.pipelines import FOLD, TIDY, Pipeline, optimise

STYLES = ("direct", "reopt")
ROUND_SIZE = 12
# How unlike its winner a loser may look, in each round of candidates; the last takes what there is.
LIMITS = (1.0, 1.4, 2.0, 3.0, float("inf"))
ALIKE = 0.3
MOST_MISSES = 60  # in a row, before the sites count as exhausted
UNLIKE = 2.0  # a mutant that looks more unlike every winner in question is not even tried
# A repeated operator weighs as much as looking so unlike.
REPETITION = 0.4
DRIFT = 2.0  # what a difference costs that the losers so far have in the same direction; the opposite one it gains

# Marks of code that nobody wrote; a loser may bear one only where a winner of its group does.
TELLS = re.compile(r"\b(?:poison|undef|unreachable|br i1 true|br i1 false)\b")

# Grades of a loser: (distance to the nearest winner below, kill rate below) for hard, and for middle.
DISTANCES, KILL_RATES = (0.02, 0.1), (0.25, 0.75)
GRADES = ("hard", "hard", "mid", "easy", "easy")


def choose_losers(
    winners: list[Text],
    known: set[str],
    harness: Harness,
    expected: tuple[Outcome, ...],
    config: IRConfig,
    rng: random.Random,
    counts: Counter,
) -> list[tuple[Text, Run]]:
    """Mutants that differ on a stable witness: a first look at rounds of them, then a decision about those that fit."""
    choice = _Choice(winners, config.max_losers, rng)
    mutants = _mutants(winners, known | {text.ir for text in winners}, choice, config, rng, counts)
    kept: list[tuple[Text, Run]] = []
    alive: list[Text] = []
    for limit in LIMITS:
        candidates = list(itertools.islice(mutants, ROUND_SIZE))
        for text, run in zip(candidates, harness.look([text.ir for text in candidates]), strict=True):
            fate = _fate(run, expected)
            _count(counts, text, fate)
            if fate == "differs":
                alive.append(text)
        while offers := choice.take_best(alive, limit):
            for offer, run in zip(offers, harness.decide([offer.text.ir for offer in offers]), strict=True):
                # It may turn out equal: in the first look, what a mutant before it had done still showed.
                if run.stable and run.runs[0] != expected:
                    kept.append((offer.text, run))
                else:
                    choice.give_back(offer)
                    _count(counts, offer.text, "differs", -1)
                    _count(counts, offer.text, _fate(run, expected) if run.stable else run.failure or "unstable")
        if not choice.open:
            break
    if len(kept) < config.min_losers:
        raise Refused(f"losers: {len(kept)} mutants with a stable witness")
    return kept


def _fate(run: Run, expected: tuple[Outcome, ...]) -> str:
    return run.failure or ("unstable" if None in run.runs[0] else "equal" if run.runs[0] == expected else "differs")


def _count(counts: Counter, text: Text, fate: str, step: int = 1) -> None:
    counts[f"mutant {fate}"] += step
    counts[f"operator {text.origin['operators'][0]} {fate}"] += step


@dataclass(frozen=True)
class _Offer:
    """A mutant in the place of a winner, how unlike the two look, and the difference by feature."""

    cost: float
    text: Text
    place: int
    difference: tuple[float, ...]


class _Choice:
    """The places that losers still have to take, one for each winner in turn, and what was taken so far."""

    def __init__(self, winners: list[Text], most: int, rng: random.Random) -> None:
        self._winners = [looks(text.ir) for text in winners]
        order = rng.sample(range(len(winners)), len(winners))
        self.open = [order[k % len(order)] for k in range(most)]
        self._most = most
        self._styles: Counter[str] = Counter()
        self._operators: Counter[str] = Counter()
        self._drift = [0.0] * len(self._winners[0])  # summed differences: what is short here may be long there
        self._seen: dict[str, tuple[float, ...]] = {}

    def wanted(self, style: str) -> int:
        """Losers of a style that are missing, were there one of it for every other place."""
        return (self._most + 1) // 2 - self._styles[style]

    def take_best(self, alive: list[Text], limit: float) -> list[_Offer]:
        """Fill open places from ``alive``, the most alike first; those filled leave ``alive``."""
        taken = []
        while (best := self._best(alive, limit)) is not None:
            alive.remove(best.text)
            self._account(best, 1)
            taken.append(best)
        return taken

    def give_back(self, offer: _Offer) -> None:
        """The mutant is no loser: its place is open again."""
        self._account(offer, -1)

    def _best(self, alive: list[Text], limit: float) -> _Offer | None:
        scarce = max(STYLES, key=self.wanted)
        styled = [text for text in alive if text.origin["style"] == scarce]
        if not styled and limit == LIMITS[-1]:
            styled = alive
        offers = [self._offer(text, place) for text in styled for place in dict.fromkeys(self.open)]
        best = min(offers, key=lambda offer: offer.cost, default=None)
        return best if best and best.cost <= limit else None

    def _account(self, offer: _Offer, step: int) -> None:
        if step > 0:
            self.open.remove(offer.place)
        else:
            self.open.append(offer.place)
        self._styles[offer.text.origin["style"]] += step
        self._operators[offer.text.origin["operators"][0]] += step
        self._drift = [drift + step * own for drift, own in zip(self._drift, offer.difference, strict=True)]

    def unlike_all(self, ir: str) -> bool:
        """Whether a text looks like the winner of no open place."""
        return all(unlikeness(self._looks(ir), self._winners[place]) > UNLIKE for place in self.open)

    def _looks(self, ir: str) -> tuple[float, ...]:
        if ir not in self._seen:
            self._seen[ir] = looks(ir)
        return self._seen[ir]

    def _offer(self, text: Text, place: int) -> _Offer:
        difference = tuple(a - b for a, b in zip(self._looks(text.ir), self._winners[place], strict=True))
        drift = sum(abs(old + own) - abs(old) for old, own in zip(self._drift, difference, strict=True))
        cost = sum(map(abs, difference)) + DRIFT * drift + REPETITION * self._operators[text.origin["operators"][0]]
        return _Offer(cost, text, place, difference)


def _mutants(
    winners: list[Text], known: set[str], choice: _Choice, config: IRConfig, rng: random.Random, counts: Counter
) -> Iterator[Text]:
    """Valid mutants by random operators of the winners whose places are open, every other one optimised again; ends
    when sites run dry.
    """
    usual = {word for winner in winners for word in TELLS.findall(winner.ir)}
    listings: dict[int, tuple[Listing, dict]] = {}
    agains: dict[int, Pipeline] = {}
    misses = made = 0
    while misses < MOST_MISSES:
        parent = rng.choice(choice.open)
        if parent not in listings:
            listing = listing_of(winners[parent].ir)
            listings[parent] = (listing, edits_of(listing))
        listing, edits = listings[parent]
        misses += 1
        if not edits:
            continue
        operator = rng.choice(sorted(edits))
        edit = rng.choice(edits[operator])
        again = None
        if _next_style(choice, made) == "reopt":
            if parent not in agains:
                agains[parent] = _again(winners[parent])
            again = agains[parent]
        try:
            ir = reparsed(listing.edited(edit))
            if again:
                ir = optimise(ir, again)
        except ValueError:
            counts["mutant invalid"] += 1
            counts[f"operator {operator} invalid"] += 1
            continue
        if ir in known or not fits(ir, config) or not set(TELLS.findall(ir)) <= usual:
            continue
        if ir.count(" ptrtoint ") > winners[parent].ir.count(" ptrtoint "):
            continue  # a variable's address is taken for its value: it computes with where memory lies
        known.add(ir)
        if again and choice.unlike_all(ir):
            continue
        misses, made = 0, made + 1
        style = (
            {"style": "reopt", "reopt_pipeline": again.steps} if again else {"style": "direct", "reopt_pipeline": []}
        )
        yield Text(
            ir, winners[parent].pipeline, {"parent": f"w{parent}", "operators": [operator], "site": edit.line, **style}
        )


def _again(winner: Text) -> Pipeline:
    """How mutants of a winner are optimised again: as it was itself, unless that makes another text of even the winner
    (unrolls further, say); then the pipeline that leaves it most alike.
    """
    own, best, least = looks(winner.ir), TIDY, float("inf")
    for pipeline in (winner.pipeline if winner.pipeline.steps else TIDY, TIDY, FOLD):
        unlike = unlikeness(own, looks(optimise(winner.ir, pipeline)))
        if unlike < least:
            best, least = pipeline, unlike
        if least < ALIKE:
            break
    return best


def _next_style(choice: _Choice, made: int) -> str:
    wanted = [style for style in STYLES if choice.wanted(style) > 0] or STYLES
    return wanted[made % len(wanted)]


def grade(distance_nearest: float, kill_rate: float) -> str:
    """``hard``, ``mid`` or ``easy``: how close a loser lies to a winner, and how few inputs expose it."""
    steps = sum(distance_nearest >= edge for edge in DISTANCES) + sum(kill_rate >= edge for edge in KILL_RATES)
    return GRADES[steps]


def loser_row(
    index: int, loser: tuple[Text, Run], winners: list[tuple], harness: Harness, expected: tuple[Outcome, ...]
) -> dict:
    """A loser as the record holds it, with the plainest input that exposes it; ``winners`` are their tokens."""
    text, run = loser
    got = run.runs[0]
    killing = [k for k in range(len(expected)) if got[k] != expected[k]]
    # The plainest input that shows the difference is the one a person wants to read.
    witness = min(killing, key=lambda k: (len(repr(harness.inputs[k])), k))
    own = tokens(text.ir)
    distances = [distance(own, winner) for winner in winners]
    nearest, kill_rate = min(distances), len(killing) / len(expected)
    return {
        "id": f"l{index}",
        "ir": text.ir,
        **text.origin,
        "n_insts": instruction_count(text.ir),
        "alpha_sha": alpha_sha(text.ir),
        "witness": {
            "input": witness,
            "kind": difference(harness.signature, got[witness], expected[witness]),
            "expected": outcome_json(harness.signature, expected[witness]),
            "got": outcome_json(harness.signature, got[witness]),
        },
        "kill_rate": round(kill_rate, 4),
        "distance_parent": round(distances[int(text.origin["parent"][1:])], 4),
        "distance_nearest": round(nearest, 4),
        "bin": grade(nearest, kill_rate),
    }
