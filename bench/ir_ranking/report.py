"""Rows, tables and the figure of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.ir_ranking.measures import (
    ORDERS,
    RATIO,
    SHORTER,
    TOKEN,
    TOKEN_RATIO,
    averaged,
    baselines,
    differences,
    intervals,
    rankings,
    winner_variances,
)
from bench.ir_ranking.settings import ARMS, MATCHED, Candidate
from bench.ir_ranking.study import Study
from oorl.data.ir_groups import IRGroup, read_ir_groups

PLOT = Path(__file__).resolve().parents[1] / "plots" / "ir-ranking.svg"
FILE_NAME = "ir-ranking.jsonl"
SCHEMA = "oorl.ir_ranking/1"  # not a provider's row: the benchmark's report passes it over
ALL = "all"  # in place of a seed: rankings averaged group by group over the seeds
COMPARED = (("gepo", "dpo"), ("gepo", MATCHED), ("gepo", "base"), ("dpo", "base"), ("likelihood", "base"))
FEWEST_SHOWN = 20  # held-out groups with a kind of loser; of fewer, the interval says little
COLOURS = {"base": "#999999", "likelihood": "#E69F00", "dpo": "#D55E00", MATCHED: "#CC79A7", "gepo": "#0072B2"}
NAMES = {
    "base": "base model",
    "likelihood": "likelihood of winners",
    "dpo": "DPO",
    MATCHED: "DPO, GEPO's settings",
    "gepo": "GEPO",
}


def study_rows(study: Study, outcome: dict) -> Iterator[dict]:
    """A row for the data and its trivial baselines, each seed and arm, their averages, and the paired differences."""
    groups = read_ir_groups(study.part("heldout"))
    common = {"schema": SCHEMA, "settings": asdict(study.settings), **outcome["data"]}
    common["settings"] = {name: value for name, value in common["settings"].items() if name not in ARMS}
    tokens = [of.tokens for of in next(iter(outcome["scores"].values()))["base"]]
    trivial = [baselines(group, of) for group, of in zip(groups, tokens, strict=True)]
    yield common | {"arm": "no model", "seed": None, "trials": outcome["trials"], "ranked": intervals(trivial)}
    ranked = {seed: _ranked(groups, scores) for seed, scores in outcome["scores"].items()}
    for seed, of_seed in ranked.items():
        for arm, found in of_seed.items():
            yield (
                common
                | {"arm": arm, "seed": seed}
                | _details(groups, outcome, seed, arm)
                | {"ranked": intervals(found)}
            )
    over_seeds = {arm: averaged([of_seed[arm] for of_seed in ranked.values()]) for arm in COLOURS}
    for arm, found in over_seeds.items():
        yield common | {"arm": arm, "seed": ALL, "seeds": sorted(ranked), "ranked": intervals(found)}
    for new, old in COMPARED:
        found = differences(over_seeds[new], over_seeds[old])
        yield common | {"arm": f"{new} - {old}", "seed": ALL, "seeds": sorted(ranked), "ranked": intervals(found)}


def _ranked(groups: Sequence[IRGroup], scores: dict) -> dict[str, list[dict[str, float]]]:
    return {
        arm: [rankings(group, s.orders(b)) for group, s, b in zip(groups, of, scores["base"], strict=True)]
        for arm, of in scores.items()
    }


def _details(groups: Sequence[IRGroup], outcome: dict, seed: int, arm: str) -> dict:
    """An arm's own settings, and how far the winners' log-ratios lie apart."""
    if arm == "base":
        return {}
    scores = outcome["scores"][seed]
    variances = winner_variances(scores[arm], scores["base"], [len(group.winners) for group in groups])
    return {"candidate": asdict(outcome["chosen"][arm]), "winner_variance": variances}


def tables(found: Sequence[dict]) -> str:
    """What the rows say, in Markdown: by order, then by kind of loser, then seed by seed."""
    return "\n\n".join(
        [_order_table(found), _kind_table(found, TOKEN), _kind_table(found, TOKEN_RATIO), _seed_table(found)]
    )


def _order_table(found: Sequence[dict]) -> str:
    lines = [f"| pairs ranked right, by | {' | '.join(ORDERS)} |", "|---|" + "---|" * len(ORDERS)]
    trivial = _one(found, "no model", None)["ranked"]
    lines += [f"| {name} | {_cell(trivial[name])} |" + " |" * (len(ORDERS) - 1) for name in SHORTER]
    for row in _over_seeds(found):
        signed = " - " in row["arm"]
        lines.append(f"| {_title(row)} | " + " | ".join(_cell(row["ranked"][o], signed) for o in ORDERS) + " |")
    return "\n".join(lines)


def _kind_table(found: Sequence[dict], order: str) -> str:
    """One order's share for every kind of loser, arms as columns."""
    columns = [row for row in _over_seeds(found) if row["arm"] in (*COLOURS, "gepo - dpo")]
    kinds = _kinds(columns[0], order)
    lines = [f"| {order} | groups | {' | '.join(map(_title, columns))} |", "|---|---|" + "---|" * len(columns)]
    for kind in kinds:
        key = f"{order}; {kind}"
        cells = [_cell(row["ranked"][key], " - " in row["arm"]) for row in columns]
        lines.append(f"| {kind} | {columns[0]['ranked'][key]['groups']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _seed_table(found: Sequence[dict]) -> str:
    lines = ["| seed | arm | settings | " + " | ".join(ORDERS) + " | winners' variance, summed | a token |"]
    lines.append("|---|---|---|" + "---|" * (len(ORDERS) + 2))
    for row in found:
        if row["arm"] in COLOURS and row["seed"] != ALL:
            shares = " | ".join(f"{row['ranked'][order]['mean']:.1%}" for order in ORDERS)
            variance = row.get("winner_variance", {RATIO: 0.0, TOKEN_RATIO: 0.0})
            candidate = Candidate(**row["candidate"]).label if "candidate" in row else ""
            spread = f"{variance[RATIO]:.3g} | {variance[TOKEN_RATIO]:.2e}"
            lines.append(f"| {row['seed']} | {NAMES[row['arm']]} | {candidate} | {shares} | {spread} |")
    return "\n".join(lines)


def _one(found: Sequence[dict], arm: str, seed: int | str | None) -> dict:
    return next(row for row in found if row["arm"] == arm and row["seed"] == seed)


def _over_seeds(found: Sequence[dict]) -> list[dict]:
    return [row for row in found if row["seed"] == ALL]


def _title(row: dict) -> str:
    return " - ".join(NAMES[name] for name in row["arm"].split(" - "))


def _kinds(row: dict, order: str) -> list[str]:
    """Kinds of loser that enough groups have: bins by difficulty, then styles, then operators."""
    prefix = f"{order}; "
    kinds = [
        key.removeprefix(prefix)
        for key, share in row["ranked"].items()
        if key.startswith(prefix) and share["groups"] >= min(FEWEST_SHOWN, row["heldout_groups"])
    ]
    ranks = {"bin hard": 0, "bin mid": 1, "bin easy": 2}
    return sorted(kinds, key=lambda kind: (ranks.get(kind, 3), kind.startswith("operator"), kind))


def _cell(share: dict, signed: bool = False) -> str:
    if signed:
        return f"{100 * share['mean']:+.1f} ({100 * share['low']:+.1f} to {100 * share['high']:+.1f})"
    return f"{share['mean']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


def draw(found: Sequence[dict], path: Path) -> None:
    """Shares by order and by kind of loser, arms side by side; lines are intervals, small dots the seeds."""
    from matplotlib.figure import Figure

    base = _one(found, "base", ALL)
    kinds = _kinds(base, TOKEN)
    figure = Figure(figsize=(11.0, 2.0 + 0.42 * max(len(kinds), 8)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _panel(left, found, list(ORDERS), list(ORDERS))
    _panel(right, found, [f"{TOKEN}; {kind}" for kind in kinds], [kind.split(" ", 1)[1] for kind in kinds])
    left.set_title("pairs of held-out groups ranked right, by order")
    right.set_title(f"by kind of loser, order: {TOKEN}")
    figure.legend(*left.get_legend_handles_labels(), frameon=False, ncols=len(COLOURS), loc="outside lower center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _panel(axis, found: Sequence[dict], keys: Sequence[str], labels: Sequence[str]) -> None:
    """One line an arm and key: the mean over seeds with its interval, and small dots for single seeds."""
    for place, (arm, colour) in enumerate(COLOURS.items()):
        offset = 0.16 * (place - 2)
        rows = [row for row in found if row["arm"] == arm]
        for row in rows:
            shares = [row["ranked"][key] for key in keys]
            ys = [y + offset for y in range(len(keys))]
            if row["seed"] == ALL:
                axis.hlines(ys, [s["low"] for s in shares], [s["high"] for s in shares], color=colour, linewidth=1.2)
            size, label = (22, NAMES[arm]) if row["seed"] == ALL else (5, None)
            axis.scatter([s["mean"] for s in shares], ys, s=size, color=colour, label=label, zorder=2)
    axis.axvline(0.5, color="#444444", linewidth=0.8, linestyle="--")
    axis.set_yticks(range(len(keys)), labels)
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.spines[["top", "right"]].set_visible(False)
