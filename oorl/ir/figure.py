"""``OUT.stats.png``: what a build made at a glance, drawn from what ``OUT.stats.json`` holds and nothing else."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from oorl.data.group_checks import GRADES
from oorl.errors import UserError
from oorl.ir.statistics import FATES, Statistics

MOST_BARS = 9  # of origins and of reasons; the rest is summed up
QUIET = "#8a8a8a"
# Colour-blind safe (Okabe-Ito): the two sides of a group, the grades of losers, what became of mutants.
SIDES = {"winners": "#0072B2", "losers": "#D55E00"}
GRADE_COLOURS = dict(zip(GRADES, ("#004B78", "#3C8FC0", "#A8D4EE"), strict=True))
FATE_COLOURS = dict(zip(FATES, ("#0072B2", "#BBBBBB", "#E69F00", "#CC79A7", "#D55E00", "#F0E442"), strict=True))
_MOSAIC = "MDOF\nGKOF\nRLOF"


def draw_if_possible(statistics: Statistics, path: Path) -> str:
    """Draw the figure where matplotlib is installed; a line that says what was written, or why nothing was."""
    if importlib.util.find_spec("matplotlib") is None:
        return 'no figure: matplotlib is not installed; run `pip install "oorl-kernels[eval]"`'
    try:
        draw_statistics(statistics.to_json(), path)
    except OSError as err:
        raise UserError(f"cannot write {path}: {err.strerror}") from err
    return f"wrote {path}"


def draw_statistics(row: dict, path: Path) -> None:
    """Write the figure of ``Statistics.to_json``."""
    import matplotlib

    matplotlib.use("Agg")  # no display is needed, here or on a server
    from matplotlib import pyplot

    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold"}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplot_mosaic(
            _MOSAIC, figsize=(16, 9), layout="constrained", width_ratios=(1, 1, 0.8, 1.05)
        )
        _draw_members(axes["M"], row)
        kinds = {**_largest(row["languages"]), "": 0, **_largest(row["origins"])}
        _draw_bars(axes["G"], kinds, "Groups by language and origin", "groups")
        refused = f"Functions refused: {sum(row['refused'].values())}"
        _draw_bars(axes["R"], _largest(row["refused"]), refused, "functions")
        _draw_distances(axes["D"], row)
        _draw_kill_rates(axes["K"], row)
        _draw_lengths(axes["L"], row)
        _draw_operators(axes["O"], axes["F"], row["operators"], row["loser_operators"])
        figure.suptitle(_heading(row), fontsize=11)
        partial = path.with_name(path.name + ".incomplete")
        figure.savefig(partial, dpi=110, format="png")
        os.replace(partial, path)
        pyplot.close(figure)


def _heading(row: dict) -> str:
    text = f"{row['kept']} groups of {row['functions']} functions, {row['winners_per_group']} winners and "
    text += f"{row['losers_per_group']} losers a group"
    return text + (f", {row['cpu_s'] / max(1, row['kept']):.2f} CPU-seconds a group" if row["cpu_s"] else "")


def _draw_members(axis, row: dict) -> None:
    found = [int(n) for side in SIDES for n in row[f"groups_by_{side}"]]
    numbers = range(min(found, default=0), max(found, default=0) + 1)
    for offset, (side, colour) in zip((-0.2, 0.2), SIDES.items(), strict=True):
        counts = [row[f"groups_by_{side}"].get(str(number), 0) for number in numbers]
        axis.bar([k + offset for k in range(len(numbers))], counts, 0.38, color=colour, label=side)
    axis.set_xticks(range(len(numbers)), numbers)
    axis.set(title="Winners and losers of a group", xlabel="members", ylabel="groups")
    axis.set_ylim(top=1.35 * axis.get_ylim()[1])  # room for the legend
    axis.legend(frameon=False, loc="upper left")


def _largest(counts: dict[str, int]) -> dict[str, int]:
    """The counts by size, those beyond the first few as one."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown, others = ordered[:MOST_BARS], ordered[MOST_BARS:]
    return dict(shown) | ({f"{len(others)} others": sum(count for _, count in others)} if others else {})


def _draw_bars(axis, counts: dict[str, int], title: str, label: str) -> None:
    """Horizontal bars from the top; one without a name is a gap."""
    names = list(counts)
    axis.set(title=title, xlabel=label)
    if not names:
        axis.text(0.5, 0.5, "none", ha="center", va="center", color=QUIET, transform=axis.transAxes)
        axis.set(xticks=[], yticks=[])
        return
    axis.barh(range(len(names)), list(counts.values()), color=SIDES["winners"])
    axis.set_yticks(range(len(names)), names, fontsize=7 if len(names) > 8 else 9)
    axis.tick_params(axis="y", length=0)
    axis.invert_yaxis()
    for place, (name, count) in enumerate(counts.items()):
        if name:
            axis.text(count, place, f" {count}", va="center", fontsize=7, color=QUIET)


def _draw_distances(axis, row: dict) -> None:
    """One bar of equal width a bin: most losers lie very near, and the bins widen."""
    edges = row["distances"]["hard"]["edges"]
    _stack_grades(axis, row["distances"], range(len(edges) - 1), 0.92)
    axis.set_xticks([k - 0.5 for k in range(len(edges))], [f"{edge:g}" for edge in edges], fontsize=7, rotation=45)
    axis.set(title="Losers by distance to the nearest winner", xlabel="token distance", ylabel="losers")
    total = max(1, sum(row["bins"].values()))
    for grade, colour in GRADE_COLOURS.items():
        axis.bar(0, 0, color=colour, label=f"{grade} {row['bins'].get(grade, 0) / total:.0%}")
    axis.legend(frameon=False)


def _draw_kill_rates(axis, row: dict) -> None:
    edges = row["kill_rates"]["hard"]["edges"]
    width = edges[1] - edges[0]
    _stack_grades(axis, row["kill_rates"], [edge + width / 2 for edge in edges[:-1]], 0.92 * width)
    axis.set(title="Losers by kill rate", xlabel="share of inputs on which it differs", ylabel="losers", xlim=(0, 1))
    if row["mean_kill_rate"] is not None:
        axis.axvline(row["mean_kill_rate"], color="black", linewidth=1, linestyle="--")
        axis.text(row["mean_kill_rate"], axis.get_ylim()[1], f" mean {row['mean_kill_rate']:.2f}", va="top", fontsize=8)


def _stack_grades(axis, histograms: dict[str, dict], places: Sequence[float], width: float) -> None:
    bottom = [0] * len(places)
    for grade, colour in GRADE_COLOURS.items():
        counts = histograms[grade]["counts"]
        axis.bar(places, counts, width, bottom=bottom, color=colour)
        bottom = [low + count for low, count in zip(bottom, counts, strict=True)]


def _draw_lengths(axis, row: dict) -> None:
    """Shares, so that unequal numbers of winners and losers can be compared."""
    for side, colour in SIDES.items():
        edges, counts = row[f"{side[:-1]}_chars"]["edges"], row[f"{side[:-1]}_chars"]["counts"]
        last = max((k for k, count in enumerate(counts) if count), default=0)
        shares = [count / max(1, sum(counts)) for count in counts[: last + 1]]
        axis.stairs(shares, edges[: last + 2], color=colour, label=side, linewidth=1.8)
    axis.set(title="Length of the texts", xlabel="characters", ylabel="share of its side")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)


def _draw_operators(kept_axis, fates_axis, operators: dict[str, dict[str, int]], kept: dict[str, int]) -> None:
    names = sorted({*operators, *kept}, key=lambda name: (kept.get(name, 0), name))
    kept_axis.barh(range(len(names)), [kept.get(name, 0) for name in names], color=SIDES["losers"])
    kept_axis.set_yticks(range(len(names)), names)
    kept_axis.set(title="Losers kept, by operator", xlabel="losers")
    fates_axis.set(title="What became of its mutants", xlabel="share of its mutants", xlim=(0, 1))
    fates_axis.sharey(kept_axis)
    fates_axis.tick_params(axis="y", labelleft=False)
    kept_axis.set_ylim(-0.6, len(names) - 0.4)
    if not operators:
        fates_axis.text(
            0.5, 0.5, "known of a build,\nnot of a file", ha="center", color=QUIET, transform=fates_axis.transAxes
        )
        return
    fates = [operators.get(name, {}) for name in names]
    totals = [max(1, sum(counts.values())) for counts in fates]
    left = [0.0] * len(names)
    for fate, colour in FATE_COLOURS.items():
        shares = [counts.get(fate, 0) / total for counts, total in zip(fates, totals, strict=True)]
        fates_axis.barh(range(len(names)), shares, left=left, color=colour, label=fate)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    fates_axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, fontsize=8)
