"""Statistics of builds and files, added up by hand, and the figure that is drawn from them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
from ir_rows import group_row, loser, winner

from oorl.cli import main
from oorl.data.ir_groups import group_from_json, write_ir_groups
from oorl.ir.statistics import DISTANCES, LENGTHS, RATES, Statistics


def rows() -> list[dict]:
    """Three groups: 2, 2 and 3 winners; 1, 2 and 1 losers; of two languages and two origins."""
    found = [group_row(k) for k in range(3)]
    found[1]["losers"] = [
        {**loser(0, "x" * 300), "kill_rate": 0.125, "distance_nearest": 0.02, "bin": "hard",
         "operators": ["drop_store"]},
        {**loser(1, "y"), "kill_rate": 1.0, "distance_nearest": 1.0, "bin": "easy", "style": "reopt"},
    ]  # fmt: skip
    found[2]["winners"].append(winner(2, "z" * 7000))
    found[2]["source"] |= {"language": "rust", "origin": "musl src/a.c in ziglang"}
    found[0]["losers"][0] |= {"kill_rate": 0.05, "bin": "mid"}
    return found


def of_build() -> Statistics:
    statistics = Statistics()
    fates = {"operator drop_store differs": 3, "operator drop_store equal": 1, "operator phi_swap invalid": 9}
    for row in rows():
        statistics.add(group_from_json(row), None, {"distinct": 20, **fates, "validator proved": 2}, 0.5)
    statistics.add(None, "size: even its most compact text is outside the bounds", {"distinct": 4}, 0.25)
    statistics.add(None, "size: again", {"validator refuted": 1}, 0.25)
    statistics.wall_s = 4.0
    return statistics


def test_the_sums_are_those_of_the_rows():
    row = of_build().to_json()
    assert (row["functions"], row["kept"], row["refused"]) == (5, 3, {"size": 2})
    assert row["groups_by_winners"] == {"2": 2, "3": 1} and row["groups_by_losers"] == {"1": 2, "2": 1}
    assert row["winners_per_group"] == 2.33 and row["losers_per_group"] == 1.33
    assert row["languages"] == {"c": 2, "rust": 1} and row["origins"] == {"musl": 1, "unknown": 2}
    assert row["bins"] == {"easy": 2, "hard": 1, "mid": 1} and row["styles"] == {"direct": 3, "reopt": 1}
    assert row["mean_kill_rate"] == round((0.05 + 0.125 + 1 + 0.5) / 4, 4)
    assert row["chars"] == {"p50": 2, "p90": 300, "max": 7000}
    assert row["loser_operators"] == {"drop_store": 1, "wrong_return": 3}
    assert row["operators"] == {"drop_store": {"differs": 9, "equal": 3}, "phi_swap": {"invalid": 27}}
    assert row["validator"] == {"proved": 6, "refuted": 1}
    assert row["distinct_texts_per_function"] == 12.8 and row["cpu_s"] == 2.0 and row["wall_s"] == 4.0


def filled(histogram: dict) -> dict[float, int]:
    """Bins that are not empty, by their lower edge."""
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    return {edge: count for edge, count in zip(histogram["edges"], histogram["counts"], strict=False) if count}


def test_histograms_hold_every_value_in_its_bin():
    row = of_build().to_json()
    # An edge belongs to the bin above it, the last one to the bin below; what lies beyond is counted there too.
    assert filled(row["distances"]["hard"]) == {0.02: 1} and filled(row["distances"]["mid"]) == {0.2: 1}
    assert filled(row["distances"]["easy"]) == {0.2: 1, DISTANCES[-2]: 1}
    assert filled(row["kill_rates"]["hard"]) == {RATES[2]: 1} and filled(row["kill_rates"]["mid"]) == {RATES[1]: 1}
    assert filled(row["kill_rates"]["easy"]) == {0.5: 1, RATES[-2]: 1}
    assert filled(row["winner_chars"]) == {0: 6, LENGTHS[-2]: 1} and filled(row["loser_chars"]) == {0: 3, 250: 1}


def test_the_table_says_the_same():
    said = of_build().table()
    assert "3 groups of 5 functions; refused: size 2" in said
    assert "by language: c 2, rust 1; by origin: musl 1, unknown 2" in said
    assert "winners by alive-tv: proved 6, refuted 1 (refuted ones are left out)" in said
    assert "4.0 s, 0.67 CPU-seconds a group" in said
    table = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith(("drop", "phi", "op"))}
    assert table["operator"] == ["differs", "equal", "invalid", "timeout", "crash", "unstable", "kept"]
    assert table["drop_store"] == ["9", "3", "0", "0", "0", "0", "1"] and table["phi_swap"][2] == "27"


def test_nothing_at_all_has_statistics_too():
    row = Statistics().to_json()
    assert row["kept"] == 0 and row["chars"]["p50"] is None and row["mean_kill_rate"] is None
    assert "0 groups of 0 functions" in Statistics().table()


def test_a_file_is_counted_and_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="figures need matplotlib (the eval extra)")
    path = tmp_path / "g.parquet"
    write_ir_groups(path, [group_from_json(row) for row in rows()])
    assert main(["data", "stats", str(path), "--out", str(tmp_path / "g")]) == 0
    said = capsys.readouterr().out
    assert "3 groups of 3 functions; refused: none" in said and "CPU-seconds" not in said
    assert f"wrote {tmp_path / 'g.stats.json'}" in said and f"wrote {tmp_path / 'g.stats.png'}" in said
    own = json.loads((tmp_path / "g.stats.json").read_text())
    built = of_build().to_json()
    for name in ("kept", "groups_by_winners", "distances", "kill_rates", "loser_operators", "languages", "chars"):
        assert own[name] == built[name], name
    assert own["operators"] == {} and own["refused"] == {}


@pytest.mark.parametrize("statistics", [of_build(), Statistics()], ids=["build", "nothing"])
def test_the_figure_has_a_bar_for_every_count(statistics, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="figures need matplotlib (the eval extra)")
    from matplotlib import pyplot

    from oorl.ir.figure import draw_statistics

    drawn = []
    close = pyplot.close
    monkeypatch.setattr(pyplot, "close", lambda figure: drawn.append(figure))
    draw_statistics(statistics.to_json(), tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [path.name for path in tmp_path.iterdir()] == ["s.png"]
    axes = {axis.get_title(): axis for axis in drawn[0].axes}
    heights = Counter(round(bar.get_height()) for bar in axes["Winners and losers of a group"].patches)
    assert heights[2] == (2 if statistics.kept else 0)  # two groups of two winners, two of one loser
    kept = [bar.get_width() for bar in axes["Losers kept, by operator"].patches]
    assert kept == ([0, 1, 3] if statistics.kept else [])
    bars = axes["Losers by kill rate"].patches
    assert sum(bar.get_height() for bar in bars) == statistics.losers
    close(drawn[0])


def test_without_matplotlib_one_line_says_so(tmp_path):
    write_ir_groups(tmp_path / "g.jsonl", [group_from_json(group_row())])
    script = (
        "import importlib.util, sys\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'matplotlib' else find(name, *rest)\n"
        "from oorl.cli import main\n"
        f"sys.exit(main(['data', 'stats', {str(tmp_path / 'g.jsonl')!r}, '--out', {str(tmp_path / 'g')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and 'matplotlib is not installed; run `pip install "oorl-kernels[eval]"`' in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.jsonl", "g.stats.json"]


def test_what_cannot_be_counted_is_named(tmp_path, capsys):
    lean = group_row()
    del lean["losers"][0]["kill_rate"]
    (tmp_path / "lean.jsonl").write_text(json.dumps(lean) + "\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    write_ir_groups(tmp_path / "g.jsonl", [group_from_json(group_row())])
    for arguments, sentence in (
        ([str(tmp_path / "lean.jsonl")], "lean.jsonl:1: MissingField: losers[0].kill_rate"),
        ([str(tmp_path / "empty.jsonl")], "holds no groups"),
        ([str(tmp_path / "g.jsonl"), "--out", str(tmp_path / "no" / "g")], "cannot write"),
    ):
        assert main(["data", "stats", *arguments]) == 1
        assert sentence in capsys.readouterr().err.splitlines()[-1]
