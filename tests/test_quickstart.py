"""The quickstart's corpus, report and, end to end, its smoke run."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from oorl.errors import UserError
from oorl.programs import canonical, divergences, generate_program, render, transliterate
from oorl.quickstart.corpus import SHORT, build_corpus, read_warmup, write_warmup
from oorl.quickstart.report import make_report, recipe_of
from oorl.quickstart.run import training_config
from oorl.quickstart.settings import FULL, PAIRS, SMOKE
from oorl.quickstart.stages import Stages
from oorl.quickstart.tokenizer import train_tokenizer

SMALL = replace(SMOKE, num_train_programs=240, num_rl_problems=24, num_heldout_problems=12, warmup_steps=20)


def program_of(problem):
    """The program a generated problem was made from: its row is the generator's seed."""
    return generate_program(problem.origin["row"], replace(SHORT, dialect=problem.source_lang))


@pytest.fixture(scope="module")
def corpus():
    return build_corpus(SMALL, seed=1)


def test_every_pair_has_its_share_of_problems(corpus):
    for problems, wanted in ((corpus.train_problems, 24), (corpus.heldout_problems, 12)):
        pairs = [(problem.source_lang, problem.target_lang) for problem in problems]
        assert {pair: pairs.count(pair) for pair in PAIRS} == dict.fromkeys(PAIRS, wanted // len(PAIRS))
        assert all(len(problem.tests) >= 2 for problem in problems)


def test_held_out_problems_share_no_program_with_training(corpus):

    def forms(problems):
        return {canonical(program_of(problem)) for problem in problems}

    held = forms(corpus.heldout_problems)
    assert not held & forms([*corpus.train_problems, *(example.problem for example in corpus.warmup)])
    assert len(held) == len(corpus.heldout_problems)


def test_wrong_targets_are_the_stated_share_of_divergent_ones(corpus):
    divergent = wrong = 0
    for example in corpus.warmup:
        problem = example.problem
        program = program_of(problem)
        pair = (problem.source_lang, problem.target_lang)
        expected = transliterate(program, *pair) if example.wrong else render(program, problem.target_lang)
        assert example.target_code == expected
        divergent += bool(divergences(program, *pair))
        wrong += example.wrong
    # binomial: 4 standard deviations
    assert wrong / divergent == pytest.approx(SMALL.wrong_share, abs=4 * (0.24 / divergent) ** 0.5)


def test_warmup_corpus_survives_the_disk(corpus, tmp_path):
    write_warmup(tmp_path / "warmup.jsonl", corpus.warmup)
    assert tuple(read_warmup(tmp_path / "warmup.jsonl")) == corpus.warmup


def test_stages_go_on_where_they_stopped_and_refuse_another_run(tmp_path):
    calls = []

    def stage():
        calls.append(1)
        return {"value": (1, 2)}

    first = Stages(tmp_path, {"seed": 0}).run("a", "first", stage)
    assert first == {"value": [1, 2]}
    again = Stages(tmp_path, {"seed": 0})
    assert again.run("a", "first", stage) == first and calls == [1]
    assert list(again.wall_s) == ["a"]
    with pytest.raises(UserError, match="another seed"):
        Stages(tmp_path, {"seed": 1})


def test_stages_are_adopted_only_from_a_run_that_agrees(tmp_path):
    done = Stages(tmp_path / "done", {"seed": 0, "arm": "oorl"})
    (tmp_path / "done" / "data").mkdir()
    (tmp_path / "done" / "data" / "x").write_text("kept")
    new = Stages(tmp_path / "new", {"seed": 0, "arm": "rl"})
    with pytest.raises(UserError, match="has not finished data"):
        new.adopt(tmp_path / "done", ("data",), ("seed",), ("data",))
    done.run("data", "data", lambda: {"n": 1})
    new.adopt(tmp_path / "done", ("data",), ("seed",), ("data",))
    assert new.run("data", "data", pytest.fail) == {"n": 1}
    assert (tmp_path / "new" / "data" / "x").read_text() == "kept"
    other = Stages(tmp_path / "other", {"seed": 1, "arm": "rl"})
    with pytest.raises(UserError, match="differs in seed"):
        other.adopt(tmp_path / "done", ("data",), ("seed",), ("data",))
    with pytest.raises(UserError, match="no quickstart run"):
        other.adopt(tmp_path / "nowhere", ("data",), ("seed",), ("data",))


def test_report_pairs_problems_and_leaves_out_the_unjudged():
    from oorl.config import Config

    before = {
        "pairs": ["a->b", "a->b", "a->c", "a->c"],
        "sampled": [0.0, 0.5, None, 1.0],
        "greedy": [0.0, 1.0, 1.0, 1.0],
        "verdicts": {},
        "ir_scores": [
            {"winners": [-1.0, -2.0], "losers": [-1.5]},
            {"winners": [-3.0, -3.0], "losers": [-1.0, -3.0]},
        ],
    }
    after = before | {
        "sampled": [0.5, 0.5, 1.0, 1.0],
        "ir_scores": [
            {"winners": [-1.0, -1.0], "losers": [-1.5]},
            {"winners": [-2.0, -2.0], "losers": [-1.0, -2.0]},
        ],
    }
    report = make_report(
        7,
        "oorl",
        FULL,
        Config(),
        {},
        {"parameters": 1, "losses": [2.0, 1.0]},
        before,
        after,
        [],
        {"data": 1.0},
        Path("run"),
    )
    assert report["n_problems"] == 3 and report["seed"] == 7 and report["wall_s"] == 1.0
    assert report["pass_at_1_before"] == pytest.approx(0.5) and report["pass_at_1_after"] == pytest.approx(2 / 3)
    assert report["difference"] == pytest.approx(1 / 6)
    assert report["per_pair"]["a->c"] == {
        "n": 1, "sampled_before": 1.0, "sampled_after": 1.0, "greedy_before": 1.0, "greedy_after": 1.0,
    }  # fmt: skip
    ranking = report["ir_ranking"]
    assert ranking["before"] == 0.375 and ranking["after"] == 0.625
    # log-ratios (0, 1) and (1, 1): population variances 0.25 and 0
    assert ranking["winner_variance_mean"] == 0.125 and ranking["winner_variance_max"] == 0.25


def test_a_report_does_not_tell_where_its_run_lies(tmp_path, monkeypatch):
    settings = ("data.held_out=elsewhere/h.jsonl", "data.groups=run/../run/mine.jsonl")
    monkeypatch.chdir(tmp_path)
    for root in (Path("run"), tmp_path / "run"):
        recipe = recipe_of(training_config(root, SMOKE, 0, "oorl", settings), root)
        assert recipe["model"]["path"] == "RUN/warmup" and recipe["training"]["out_dir"] == "RUN/run"
        assert recipe["data"]["problems"] == "RUN/data/train.jsonl" and recipe["data"]["groups"] == "RUN/mine.jsonl"
        assert recipe["data"]["held_out"] == "elsewhere/h.jsonl", "a file outside the run stays as it was named"
        assert str(tmp_path) not in json.dumps(recipe)


def test_a_tokenizer_keeps_alone_what_it_is_told_to_and_merges_the_rest():
    texts = [f"  %{k} = add nsw i64 %{k - 1}, %{k - 2}\n" for k in range(2, 40)]
    tokenizer = train_tokenizer(texts, 400, r"%\w+")
    ids = tokenizer("  %17 = add nsw i64 %3, %4\n").input_ids
    pieces = [tokenizer.decode([token]) for token in ids]
    assert pieces == ["  ", "%17", " = add nsw i64 ", "%3", ", ", "%4", "\n"]
    assert not any("nsw\u0120i64" in token for token in train_tokenizer(texts, 400).get_vocab()), "words by default"
    odd = "caf\u00e9 \U0001f40e %\n\t%17%18"
    assert tokenizer.decode(tokenizer(odd).input_ids) == odd


@pytest.mark.slow
def test_smoke_run_end_to_end(tmp_path):
    command = [sys.executable, "-m", "oorl", "quickstart", "--smoke", "--seed", "3", "--out", str(tmp_path / "a run")]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr[-3000:]
    root = tmp_path / "a run"
    report = json.loads((root / "report.json").read_text())
    wanted = {"pass_at_1_before", "pass_at_1_after", "greedy_before", "greedy_after", "ci95_difference", "per_pair",
              "n_problems", "wall_s", "seed", "settings", "recipe", "transliteration"}  # fmt: skip
    assert wanted <= report.keys()
    assert str(tmp_path) not in json.dumps(report) and report["recipe"]["model"]["path"] == "RUN/warmup"
    assert report["seed"] == 3 and report["n_problems"] == SMOKE.num_heldout_problems
    assert len((root / "metrics.jsonl").read_text().splitlines()) == SMOKE.train_steps
    assert (root / "report.png").read_bytes().startswith(b"\x89PNG")

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(root / "model") for kind in (AutoModelForCausalLM, AutoTokenizer))
    assert model.config.vocab_size == len(tokenizer)

    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0 and "finished before: data, warmup, before, training, after" in again.stdout
    assert json.loads((root / "report.json").read_text()) == report
