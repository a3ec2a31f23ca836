"""``report.png``: the whole run at a glance, drawn only from ``report.json`` and ``metrics.jsonl``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

BEFORE, AFTER, QUIET = "#b8b4ac", "#1f6f8b", "#8a8a8a"
VERDICT_COLOURS = {
    "PASS": "#1f6f8b",
    "WA": "#e0a458",
    "RE": "#c8553d",
    "CE": "#7d4f50",
    "FORMAT": "#c9c5bd",
    "other": "#5c5c5c",
}
SMOOTHING_STEPS = 9


def draw_report(report: dict, metrics: Sequence[dict], path: Path) -> None:
    """Write the six-panel figure of a finished quickstart.

    Args:
        report: what ``report.json`` holds.
        metrics: the rows of ``metrics.jsonl``, one a training step.
        path: the PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")  # no display is needed, here or on a server
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold"}
    )
    figure, axes = pyplot.subplots(2, 3, figsize=(14, 7.6), constrained_layout=True)
    _draw_reward(axes[0, 0], metrics)
    _draw_pass_at_1(axes[0, 1], report)
    _draw_pairs(axes[0, 2], report["per_pair"])
    _draw_series(
        axes[1, 0], metrics, "gepo/margin", "GEPO margin, winners over losers", "beta x (mean winner - mean loser)"
    )
    _draw_series(axes[1, 1], metrics, "gepo/winner_variance", "Variance among winners", "variance of log-ratios")
    _draw_verdicts(axes[1, 2], metrics)
    ranking = report["ir_ranking"]
    figure.suptitle(
        f"OORL quickstart, seed {report['seed']}: sampled pass@1 {report['pass_at_1_before']:.1%} -> "
        f"{report['pass_at_1_after']:.1%} on {report['n_problems']} held-out problems; "
        f"IR pairs ranked right {ranking['before']:.1%} -> {ranking['after']:.1%} on {ranking['n_groups']} groups",
        fontsize=11,
    )
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _series(metrics: Sequence[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [(row["step"], row[name]) for row in metrics if row.get(name) is not None]
    return tuple(np.array(column, dtype=float) for column in zip(*rows, strict=True)) if rows else (np.array([]),) * 2


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred moving mean; the window shrinks at both ends instead of padding."""
    half = SMOOTHING_STEPS // 2
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(values.size)])


def _draw_series(axis, metrics: Sequence[dict], name: str, title: str, label: str) -> None:
    steps, values = _series(metrics, name)
    axis.set(title=title, xlabel="step", ylabel=label)
    if steps.size == 0:
        axis.text(0.5, 0.5, "switched off in this run", ha="center", va="center", color=QUIET, transform=axis.transAxes)
        return
    axis.plot(steps, values, ".", color=BEFORE, markersize=4)
    axis.plot(steps, _smooth(values), color=AFTER, linewidth=2)


def _draw_reward(axis, metrics: Sequence[dict]) -> None:
    _draw_series(axis, metrics, "reward", "Reward: share of samples that pass all tests", "mean reward")
    axis.set_ylim(bottom=0)


def _draw_pass_at_1(axis, report: dict) -> None:
    for place, kind in enumerate(("sampled", "greedy")):
        key = "pass_at_1" if kind == "sampled" else "greedy"
        for offset, when, colour in ((-0.2, "before", BEFORE), (0.2, "after", AFTER)):
            value = report[f"{key}_{when}"]
            low, high = report[f"ci95_{kind}_{when}"]
            whiskers = [[value - low], [high - value]]
            axis.bar(
                place + offset, value, 0.36, color=colour, yerr=whiskers, capsize=3, label=when if place == 0 else None
            )
            axis.text(place + offset, high + 0.01, f"{value:.1%}", ha="center", va="bottom")
    axis.set(title="pass@1 on held-out problems, 95% bootstrap", xticks=[0, 1], ylabel="pass@1", ylim=(0, 1.05))
    axis.set_xticklabels(["sampled, T = 1", "greedy"])
    axis.legend(frameon=False, loc="upper left")


def _draw_pairs(axis, per_pair: dict[str, dict]) -> None:
    names = sorted(per_pair, key=lambda name: per_pair[name]["sampled_after"])
    for place, name in enumerate(names):
        before, after = per_pair[name]["sampled_before"], per_pair[name]["sampled_after"]
        axis.barh(place + 0.2, before, 0.38, color=BEFORE)
        axis.barh(place - 0.2, after, 0.38, color=AFTER)
        axis.text(max(before, after) + 0.01, place, f"{after - before:+.0%}", va="center", color=QUIET)
    axis.set(title="Sampled pass@1 by language pair", xlim=(0, 1.08), yticks=range(len(names)), xlabel="pass@1")
    axis.set_yticklabels(names)


def _draw_verdicts(axis, metrics: Sequence[dict]) -> None:
    axis.set(title="Verdicts of the unit tests", xlabel="step", ylabel="share of samples", ylim=(0, 1))
    rows = [{k.removeprefix("verdicts/"): v for k, v in row.items() if k.startswith("verdicts/")} for row in metrics]
    rows = [row for row in rows if sum(row.values())]
    if not rows:
        return
    shares = {name: np.array([row.get(name, 0) / sum(row.values()) for row in rows]) for name in VERDICT_COLOURS}
    shares["other"] = 1.0 - sum(shares[name] for name in VERDICT_COLOURS if name != "other")
    stacked = [_smooth(shares[name]) for name in VERDICT_COLOURS]
    axis.stackplot(range(len(rows)), stacked, labels=list(VERDICT_COLOURS), colors=list(VERDICT_COLOURS.values()))
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=6, fontsize=8, columnspacing=1)
