"""What a build did, summed over its functions: kept and refused with reasons, operators, distances, sizes, time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from oorl.data.ir_groups import IRGroup

ROWS = ("rows", "bad", "repeated")
FATES = ("differs", "equal", "invalid", "timeout", "crash", "unstable")


@dataclass
class Statistics:
    """Sums over outcomes; ``kept`` and ``refused`` add up to the functions seen."""

    kept: int = 0
    refused: Counter = field(default_factory=Counter)
    winners: int = 0
    losers: int = 0
    bins: Counter = field(default_factory=Counter)
    styles: Counter = field(default_factory=Counter)
    counts: Counter = field(default_factory=Counter)
    reading: Counter = field(default_factory=Counter)  # rows of a data set, and what was left out of them by its kind
    kill_rate_sum: float = 0.0
    lengths: list[int] = field(default_factory=list)  # characters of every member
    cpu_s: float = 0.0
    wall_s: float = 0.0

    @property
    def functions(self) -> int:
        return self.kept + sum(self.refused.values())

    def add(self, group: IRGroup | None, reason: str | None, counts: dict[str, int], cpu_s: float) -> None:
        """Count one outcome."""
        self.counts.update(counts)
        self.cpu_s += cpu_s
        if group is None:
            self.refused[(reason or "unknown").split(":", 1)[0]] += 1
            return
        self.kept += 1
        self.winners += len(group.winners)
        self.losers += len(group.losers)
        self.lengths += [len(member["ir"]) for member in (*group.winners, *group.losers)]
        for loser in group.losers:
            self.bins[loser["bin"]] += 1
            self.styles[loser["style"]] += 1
            self.kill_rate_sum += loser["kill_rate"]

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
        return {
            **({"reading": dict(sorted(self.reading.items()))} if self.reading else {}),
            "functions": self.functions,
            "kept": self.kept,
            "refused": dict(sorted(self.refused.items())),
            "winners_per_group": self._per_group(self.winners),
            "losers_per_group": self._per_group(self.losers),
            "bins": dict(sorted(self.bins.items())),
            "styles": dict(sorted(self.styles.items())),
            "mean_kill_rate": round(self.kill_rate_sum / self.losers, 4) if self.losers else None,
            "chars": {"p50": self._length(0.5), "p90": self._length(0.9), "max": self._length(1.0)},
            "distinct_texts_per_function": round(self.counts["distinct"] / max(1, self.functions), 2),
            "operators": self.operators(),
            "cpu_s": round(self.cpu_s, 2),
            "wall_s": round(self.wall_s, 2),
        }

    def table(self) -> str:
        """The same for a person."""
        row = self.to_json()
        refused = ", ".join(f"{reason} {count}" for reason, count in sorted(self.refused.items())) or "none"
        lines = [reading_line(self.reading)] if self.reading else []
        lines += [
            f"{self.kept} groups of {self.functions} functions; refused: {refused}",
            f"{row['winners_per_group']} winners and {row['losers_per_group']} losers a group, "
            f"{row['chars']['p50']} characters (p50), {row['chars']['p90']} (p90)",
            f"losers by distance: {_shares(self.bins)}; by style: {_shares(self.styles)}; "
            f"mean kill rate {row['mean_kill_rate']}",
            f"{self.wall_s:.1f} s, {self.cpu_s / max(1, self.kept):.2f} CPU-seconds a group",
            "",
            f"{'operator':22}" + "".join(f"{fate:>10}" for fate in FATES),
        ]
        for name, fates in self.operators().items():
            lines.append(f"{name:22}" + "".join(f"{fates.get(fate, 0):>10}" for fate in FATES))
        return "\n".join(lines)

    def _per_group(self, count: int) -> float:
        return round(count / max(1, self.kept), 2)

    def _length(self, share: float) -> int | None:
        ordered = sorted(self.lengths)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _shares(counter: Counter) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"


def reading_line(reading: Counter) -> str:
    """What was read of a data set, and what was left out of it."""
    reasons = ", ".join(f"{kind} {count}" for kind, count in sorted(reading.items()) if kind not in ROWS)
    return (
        f"read {reading['rows']} rows ({reading['bad']} bad, {reading['repeated']} repeated); "
        f"left out of them: {reasons or 'none'}"
    )
