"""What an evaluation leaves behind: ``report.json``, a source x target table, and its heat map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oorl.evaluation.evaluate import Outcome, by_pair, count_verdicts, pass_rates
from oorl.evaluation.statistics import bootstrap_mean


def summarize(outcomes: Sequence[Outcome], ks: Sequence[int]) -> dict:
    """pass@k overall and by pair, each with its 95% bootstrap interval, and the count of every verdict."""
    return {
        "num_problems": len(outcomes),
        "num_unjudged": sum(outcome.pass_at(1) is None for outcome in outcomes),
        "pass_at_k": {str(k): bootstrap_mean(pass_rates(outcomes, k))._asdict() for k in ks},
        "per_pair": {str(k): {pair: interval._asdict() for pair, interval in by_pair(outcomes, k).items()} for k in ks},
        "verdicts": count_verdicts(outcomes),
    }


def table(summary: dict, k: int) -> str:
    """The source x target table of pass@k as text; a pair that was not asked is a dash."""
    pairs = summary["per_pair"][str(k)]
    sources, targets = _axes(pairs)
    width = max(12, *(len(name) + 2 for name in targets))
    lines = [f"pass@{k}".ljust(14) + "".join(target.rjust(width) for target in targets)]
    for source in sources:
        cells = [pairs.get(f"{source}->{target}") for target in targets]
        row = "".join((f"{cell['mean']:.1%}" if cell else "-").rjust(width) for cell in cells)
        lines.append(source.ljust(14) + row)
    overall = summary["pass_at_k"][str(k)]
    lines.append(f"all: {overall['mean']:.1%}  (95% bootstrap {overall['low']:.1%} to {overall['high']:.1%})")
    return "\n".join(lines)


def draw_heat_map(summary: dict, k: int, path: Path) -> None:
    """Write the source x target matrix of pass@k as a PNG."""
    import matplotlib

    matplotlib.use("Agg")  # no display is needed
    from matplotlib import pyplot

    pairs = summary["per_pair"][str(k)]
    sources, targets = _axes(pairs)
    values = [[pairs.get(f"{s}->{t}", {}).get("mean", float("nan")) for t in targets] for s in sources]
    figure, axis = pyplot.subplots(
        figsize=(1.6 + 1.1 * len(targets), 1.6 + 0.7 * len(sources)), constrained_layout=True
    )
    axis.imshow(values, vmin=0.0, vmax=1.0, cmap="YlGnBu", aspect="auto")
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            if value == value:  # not NaN: the pair was asked
                colour = "white" if value > 0.6 else "black"
                axis.text(column, row, f"{value:.0%}", ha="center", va="center", color=colour)
    axis.set_xticks(range(len(targets)), targets)
    axis.set_yticks(range(len(sources)), sources)
    axis.set(xlabel="target", ylabel="source", title=f"pass@{k} on {summary['num_problems']} problems")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _axes(pairs: dict) -> tuple[list[str], list[str]]:
    sources = sorted({pair.split("->")[0] for pair in pairs})
    targets = sorted({pair.split("->")[1] for pair in pairs})
    return sources, targets
