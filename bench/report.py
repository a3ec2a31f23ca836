"""``python -m bench.report``: tables and plots of the stored rows, and of nothing else."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from bench.rows import latest, read_rows

BENCH = Path(__file__).resolve().parent
TASK_TITLES = {
    "logprobs": "log-probs, forward",
    "logprobs_grad": "log-probs, forward + backward",
    "cross_entropy_grad": "mean cross-entropy, forward + backward",
    "policy_grad": "clipped policy loss, forward + backward",
}
HEADER = (
    "| provider | GEMMs | min - max | ms | workspace MiB | dW MiB | log-prob error | dX error | dW error |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)
LEAST_MIB = 0.1  # left end of the logarithmic axis
# Colour-blind safe (Okabe-Ito); the same provider has the same colour in every plot.
COLOURS = {
    "oorl": "#0072B2",
    "oorl-torch": "#56B4E9",
    "torch-eager": "#999999",
    "torch-chunked": "#F0E442",
    "torch-linear-ce": "#E69F00",
    "liger-flce": "#009E73",
    "liger-grpo": "#D55E00",
    "quack": "#CC79A7",
}


def tables(rows: Sequence[dict]) -> str:
    """Markdown: a section per device and shape, a table per task, fastest first, the unmeasured with the reason."""
    text = []
    for (device, shape), of_shape in _grouped(rows, "device", "shape"):
        first = of_shape[0]
        threads = f", {first['threads']} threads" if first["threads"] else ""
        dims = f"N={first['tokens']} H={first['hidden']} V={first['vocab']} {first['dtype']}"
        text.append(f"## {shape}: {dims} ({device}{threads})\n")
        for (task,), of_task in _grouped(of_shape, "task"):
            text.append(f"### {TASK_TITLES[task]}\n\n{HEADER}")
            text += [_line(row) for row in sorted(of_task, key=lambda row: row.get("gemm_units", float("inf")))]
            text.append("\n" + _provenance(of_task) + "\n")
    return "\n".join(text)


def _line(row: dict) -> str:
    if row["status"] != "ok":
        return f"| {row['provider']} | {row['status']}: {row['reason']} |" + " |" * 7
    cells = [
        row["provider"],
        f"{row['gemm_units']:.2f}",
        f"{row['gemm_units_min']:.2f} - {row['gemm_units_max']:.2f}",
        f"{row['median_ms']:.1f}",
        f"{row['workspace_bytes'] / 2**20:.1f}",
        f"{row['d_head_bytes'] / 2**20:.0f}",
        *(_error(row.get(name)) for name in ("logprob_max_abs", "d_hidden_rel", "d_head_rel")),
    ]
    return "| " + " | ".join(cells) + " |"


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _provenance(rows: Sequence[dict]) -> str:
    """Which code, when, and what one GEMM took: a figure without this is not published."""
    timed = [row for row in rows if row["status"] == "ok"]
    commits = sorted({f"{(row['commit'] or 'no git')[:9]}{'+changes' if row['dirty'] else ''}" for row in rows})
    peers = (row for row in timed if not row["provider"].startswith("torch-"))
    versions = sorted({f"{row['provider']} {row['provider_version']}" for row in peers})
    gemm = f"one GEMM {timed[0]['unit_median_ms']:.1f} ms; " if timed else ""
    dates = sorted({row["date"][:10] for row in rows})
    what = ", ".join([f"torch {rows[0]['torch']}", *versions])
    return f"{gemm}{what}; commit {', '.join(commits)}; {', '.join(dates)}"


def plot(rows: Sequence[dict], path: Path) -> None:
    """Time (in products, with the extremes) and workspace (MiB, log axis) of one shape: a row of axes a task."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = [(task, of_task) for (task,), of_task in _grouped([r for r in rows if r["status"] == "ok"], "task")]
    if not tasks:
        raise ValueError("no timed rows to plot; run python -m bench first")
    figure, axes = pyplot.subplots(
        len(tasks),
        2,
        figsize=(10, 1.4 + sum(0.55 + 0.3 * len(of_task) for _, of_task in tasks)),
        squeeze=False,
        sharex="col",
        height_ratios=[len(of_task) + 1 for _, of_task in tasks],
        layout="constrained",
    )
    for (time_axis, memory_axis), (task, of_task) in zip(axes, tasks, strict=True):
        of_task = sorted(of_task, key=lambda row: -row["gemm_units"])  # the fastest on top
        _draw_times(time_axis, of_task)
        _draw_workspaces(memory_axis, of_task)
        time_axis.set_title(TASK_TITLES[task], fontsize=10, loc="left")
        for axis in (time_axis, memory_axis):
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=8, labelbottom=True)
            axis.grid(axis="x", color="#dddddd", linewidth=0.6)
            axis.set_axisbelow(True)
    timed = [row for _, of_task in tasks for row in of_task]
    axes[-1][0].set_xlim(0, 1.15 * max(row["gemm_units_max"] for row in timed))
    axes[-1][0].set_xlabel("time, in hidden x head products (median; whiskers: extremes)", fontsize=9)
    axes[-1][1].set_xlim(LEAST_MIB, 10 * max(_workspace_mib(row) for row in timed))
    axes[-1][1].set_xlabel("workspace beyond inputs, outputs and gradients, MiB", fontsize=9)
    first = rows[0]
    dims = f"N={first['tokens']} H={first['hidden']} V={first['vocab']} {first['dtype']}"
    caption = "\n".join(textwrap.wrap(_provenance(rows), 130, break_on_hyphens=False))
    figure.suptitle(f"{first['shape']}: {dims}, {first['device']}\n", fontsize=11)
    figure.supxlabel(caption, fontsize=7, color="#555555")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_times(axis, rows: Sequence[dict]) -> None:
    units = [row["gemm_units"] for row in rows]
    spread = [
        [row["gemm_units"] - row["gemm_units_min"] for row in rows],
        [row["gemm_units_max"] - row["gemm_units"] for row in rows],
    ]
    names = [row["provider"] for row in rows]
    colours = [COLOURS.get(name, "#000000") for name in names]
    bars = axis.barh(names, units, xerr=spread, color=colours, ecolor="#444444", capsize=2, height=0.7)
    axis.bar_label(bars, [f"{value:.2f}" for value in units], padding=5, fontsize=8)


def _draw_workspaces(axis, rows: Sequence[dict]) -> None:
    names = [row["provider"] for row in rows]
    sizes = [_workspace_mib(row) for row in rows]
    labels = [f"{size:,.0f}" if size >= 10 else f"{size:.1f}" if size > LEAST_MIB else "< 0.1" for size in sizes]
    bars = axis.barh(names, sizes, color=[COLOURS.get(name, "#000000") for name in names], height=0.7)
    axis.bar_label(bars, labels, padding=4, fontsize=8)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    axis.set_yticklabels([])


def _workspace_mib(row: dict) -> float:
    return max(row["workspace_bytes"] / 2**20, LEAST_MIB)


def _grouped(rows: Sequence[dict], *names: str):
    """Groups of rows with equal ``names``, in the order in which each first appears."""
    order = {}
    for row in rows:
        order.setdefault(tuple(row[name] for name in names), len(order))
    ordered = sorted(rows, key=lambda row: order[tuple(row[name] for name in names)])
    for key, group in groupby(ordered, key=lambda row: tuple(row[name] for name in names)):
        yield key, list(group)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__.split(":")[1].strip())
    parser.add_argument("--results", type=Path, default=BENCH / "results", help="default bench/results")
    parser.add_argument("--plots", type=Path, default=BENCH / "plots", help="for SVG files (default bench/plots)")
    args = parser.parse_args(argv)
    try:
        rows = latest(read_rows(args.results))
    except ValueError as err:
        print(f"bench.report: {err}", file=sys.stderr)
        return 1
    if not rows:
        print(f"bench.report: no rows under {args.results}; run scripts/bench first", file=sys.stderr)
        return 1
    print(tables(rows))
    for (device, shape), of_shape in _grouped([row for row in rows if row["status"] == "ok"], "device", "shape"):
        folder = "".join(letter if letter.isalnum() else "-" for letter in device.lower())
        path = args.plots / f"{folder}-{shape}.svg"
        plot(of_shape, path)
        print(f"plot: {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
