"""What a build did, or what a file of groups holds: kept, refused with reasons, sizes, operators, distances, time."""

from __future__ import annotations

import bisect
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oorl.data.group_checks import GRADES
from oorl.data.ir_groups import IRGroup

SIDES = ("winners", "losers")
ROWS = ("rows", "bad", "repeated")
FATES = ("differs", "equal", "invalid", "timeout", "crash", "unstable")
# Edges of the histograms.
DISTANCES = (0, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.06, 0.1, 0.2, 0.35, 0.6, 1)
RATES = tuple(k / 20 for k in range(21))
LENGTHS = tuple(range(0, 6001, 250))


@dataclass
class Statistics:
    """Sums over outcomes; ``kept`` and ``refused`` add up to the functions seen."""

    kept: int = 0
    refused: Counter = field(default_factory=Counter)
    members: dict[str, Counter] = field(default_factory=lambda: {side: Counter() for side in SIDES})  # of a group
    lengths: dict[str, Counter] = field(default_factory=lambda: {side: Counter() for side in SIDES})  # characters
    bins: Counter = field(default_factory=Counter)
    styles: Counter = field(default_factory=Counter)
    of_losers: Counter = field(default_factory=Counter)  # their operators
    # of losers of each grade: distances to the nearest winner, and kill rates
    distances: dict[str, Counter] = field(default_factory=lambda: {grade: Counter() for grade in GRADES})
    kill_rates: dict[str, Counter] = field(default_factory=lambda: {grade: Counter() for grade in GRADES})
    languages: Counter = field(default_factory=Counter)
    origins: Counter = field(default_factory=Counter)
    counts: Counter = field(default_factory=Counter)
    reading: Counter = field(default_factory=Counter)  # rows of a data set, and what was left out of them by its kind
    cpu_s: float = 0.0
    wall_s: float = 0.0

    @property
    def functions(self) -> int:
        return self.kept + sum(self.refused.values())

    @property
    def winners(self) -> int:
        return self.lengths["winners"].total()

    @property
    def losers(self) -> int:
        return self.lengths["losers"].total()

    def add(self, group: IRGroup | None, reason: str | None, counts: dict[str, int], cpu_s: float) -> None:
        """Count one outcome."""
        self.counts.update(counts)
        self.cpu_s += cpu_s
        if group is None:
            self.refused[(reason or "unknown").split(":", 1)[0]] += 1
            return
        self.kept += 1
        self.languages[group.source["language"]] += 1
        self.origins[_family(group.source.get("origin", ""))] += 1
        for side in SIDES:
            members = getattr(group, side)
            self.members[side][len(members)] += 1
            self.lengths[side].update(len(member["ir"]) for member in members)
        for loser in group.losers:
            self.bins[loser["bin"]] += 1
            self.styles[loser["style"]] += 1
            self.of_losers[loser["operators"][0]] += 1
            self.distances[loser["bin"]][loser["distance_nearest"]] += 1
            self.kill_rates[loser["bin"]][loser["kill_rate"]] += 1

    def operators(self) -> dict[str, dict[str, int]]:
        """Mutants of every operator by what became of them."""
        table: dict[str, dict[str, int]] = {}
        for name, count in sorted(self.counts.items()):
            kind, *rest = name.split(" ")
            if kind == "operator":
                table.setdefault(rest[0], {})[rest[1]] = count
        return table

    def to_json(self) -> dict:
        """Everything, for ``OUT.stats.json``."""
        rates = sum((rate * count for own in self.kill_rates.values() for rate, count in own.items()), 0.0)
        return {
            **({"reading": dict(sorted(self.reading.items()))} if self.reading else {}),
            "functions": self.functions,
            "kept": self.kept,
            "refused": dict(sorted(self.refused.items())),
            "winners_per_group": round(self.winners / max(1, self.kept), 2),
            "losers_per_group": round(self.losers / max(1, self.kept), 2),
            "groups_by_winners": _by_number(self.members["winners"]),
            "groups_by_losers": _by_number(self.members["losers"]),
            "languages": dict(sorted(self.languages.items())),
            "origins": dict(sorted(self.origins.items())),
            "bins": dict(sorted(self.bins.items())),
            "styles": dict(sorted(self.styles.items())),
            "distances": {grade: _histogram(own, DISTANCES) for grade, own in self.distances.items()},
            "kill_rates": {grade: _histogram(own, RATES) for grade, own in self.kill_rates.items()},
            "mean_kill_rate": round(rates / self.losers, 4) if self.losers else None,
            "chars": {"p50": self._length(0.5), "p90": self._length(0.9), "max": self._length(1.0)},
            "winner_chars": _histogram(self.lengths["winners"], LENGTHS),
            "loser_chars": _histogram(self.lengths["losers"], LENGTHS),
            "distinct_texts_per_function": round(self.counts["distinct"] / max(1, self.functions), 2),
            "validator": {
                name.split(" ")[1]: n for name, n in sorted(self.counts.items()) if name.startswith("validator ")
            },
            "operators": self.operators(),
            "loser_operators": dict(sorted(self.of_losers.items())),
            "cpu_s": round(self.cpu_s, 2),
            "wall_s": round(self.wall_s, 2),
        }

    def table(self) -> str:
        """The same for a person."""
        row = self.to_json()
        lines = [reading_line(self.reading)] if self.reading else []
        lines += [
            f"{self.kept} groups of {self.functions} functions; refused: {_shares(self.refused)}",
            f"{row['winners_per_group']} winners and {row['losers_per_group']} losers a group, "
            f"{row['chars']['p50']} characters (p50), {row['chars']['p90']} (p90)",
            f"by language: {_shares(self.languages)}; by origin: {_shares(self.origins)}",
            f"losers by distance: {_shares(self.bins)}; by style: {_shares(self.styles)}; "
            f"mean kill rate {row['mean_kill_rate']}",
        ]
        if row["validator"]:
            lines.append(f"winners by alive-tv: {_shares(Counter(row['validator']))} (refuted ones are left out)")
        if self.wall_s:
            lines.append(f"{self.wall_s:.1f} s, {self.cpu_s / max(1, self.kept):.2f} CPU-seconds a group")
        fates = FATES if row["operators"] else ()
        lines += ["", f"{'operator':22}" + "".join(f"{name:>10}" for name in (*fates, "kept"))]
        for name in sorted({*row["operators"], *self.of_losers}):
            counts = {**row["operators"].get(name, {}), "kept": self.of_losers[name]}
            lines.append(f"{name:22}" + "".join(f"{counts.get(column, 0):>10}" for column in (*fates, "kept")))
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write ``to_json``, whole or not at all."""
        partial = path.with_name(path.name + ".incomplete")
        partial.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)

    def _length(self, share: float) -> int | None:
        both = self.lengths["winners"] + self.lengths["losers"]
        place = min(both.total() - 1, int(share * both.total()))
        for length in sorted(both):
            place -= both[length]
            if place < 0:
                return length
        return None


def _family(origin: str) -> str:
    """Where a function is from, without what tells it from others of there: ``musl``, ``oorl.programs``, a file."""
    return (origin.split() or ["unknown"])[0]


def _by_number(counter: Counter) -> dict[str, int]:
    return {str(number): counter[number] for number in sorted(counter)}


def _histogram(values: Counter, edges: Sequence[float]) -> dict[str, list]:
    """Values from one edge up to the next; the last bin holds its upper edge too, and what lies beyond."""
    counts = [0] * (len(edges) - 1)
    for value, count in values.items():
        counts[min(bisect.bisect_right(edges, value), len(counts)) - 1] += count
    return {"edges": list(edges), "counts": counts}


def _shares(counter: Counter) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"


def reading_line(reading: Counter) -> str:
    """What was read of a data set, and what was left out of it."""
    reasons = ", ".join(f"{kind} {count}" for kind, count in sorted(reading.items()) if kind not in ROWS)
    return (
        f"read {reading['rows']} rows ({reading['bad']} bad, {reading['repeated']} repeated); "
        f"left out of them: {reasons or 'none'}"
    )
