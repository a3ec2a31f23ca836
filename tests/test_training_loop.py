"""The loop end to end on a tiny model: order of events, metrics, exact resume, kills, refusals, the command."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from oorl.cli import main
from oorl.config import Config, load_config
from oorl.errors import UserError
from oorl.training.checkpoint import export, latest_checkpoint
from oorl.training.loop import run_steps
from oorl.training.mesh import World
from oorl.training.metrics import MetricsLog
from oorl.training.setup import Run, set_up

WORLD = World()
SMALL = (
    "rollout.prompts_per_step=4",
    "rollout.group_size=4",
    "rollout.max_new_tokens=12",
    "objective.w_gepo=0.1",
    "training.steps=6",
    "training.save_every=2",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Assignments that point a recipe at a tiny model, problems and groups."""
    directory = tmp_path_factory.mktemp("data")
    model = tiny.save_tiny_model(directory / "model")
    problems, groups = tiny.write_tiny_data(directory)
    return [f"model.path={model}", f"data.problems={problems}", f"data.groups={groups}"]


def configured(data: list[str], out: Path, *assignments: str) -> Config:
    return load_config("cpu_tiny", [*data, *SMALL, f"training.out_dir={out}", *assignments])


def run_with(config: Config, pool: object, *, resume: bool = False, stop_after: int | None = None) -> Run:
    """What ``train`` does, with a pool of the test's own; stops as Ctrl-C would after the given step's metrics."""
    run = set_up(config, WORLD, resume=resume)
    log = MetricsLog(run.out_dir / "metrics.jsonl", WORLD, run.progress.step, run.total_steps)
    with closing(log):
        if stop_after is not None:
            write = log.write

            def interrupted(step: int, row: dict) -> None:
                write(step, row)
                if step == stop_after:
                    raise KeyboardInterrupt

            log.write = interrupted
            with pytest.raises(KeyboardInterrupt):
                run_steps(run, pool, log)
        else:
            run_steps(run, pool, log)
            export(run.out_dir / "model", run.policy, run.prompter.tokenizer, WORLD)
    return run


def rows(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in lines]


class WatchedPool(tiny.FakePool):
    """Counts what the policy scores between a submission and its gathering."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def submit(self, jobs):
        self.events.append("submit")
        return super().submit(jobs)

    def gather(self, batch, deadline_s=None):
        self.events.append("gather")
        return super().gather(batch, deadline_s)


def test_the_trainer_computes_while_the_unit_tests_run(data: list[str], tmp_path: Path) -> None:
    run = set_up(configured(data, tmp_path / "run", "training.steps=1"), WORLD, resume=False)
    pool = WatchedPool()
    score = run.policy.score

    def watched(*args: object, **kwargs: object):
        pool.events.append("backward" if torch.is_grad_enabled() else "forward")
        return score(*args, **kwargs)

    run.policy.score = watched
    with closing(MetricsLog(run.out_dir / "metrics.jsonl", WORLD, 0, 1)) as log:
        row = run_steps(run, pool, log)
    first, last = pool.events.index("submit"), pool.events.index("gather")
    between = pool.events[first + 1 : last]
    assert "backward" in between  # GEPO's second pass
    assert between[-1] == "forward"  # old log-probs
    assert row["time/reward_wait_s"] >= 0 and 0 <= row["rewards_ready_before_wait"] <= 1


def test_metrics_and_files_of_a_run(data: list[str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = run_with(configured(data, out, "objective.advantages=reinforce++"), tiny.FakePool())
    written = rows(out)
    assert [row["step"] for row in written] == list(range(6))
    wanted = {
        "reward", "reward_std", "frac_reward_zero_std", "rewards/cpp-python/mean", "verdicts/PASS", "verdicts/INFRA",
        "samples_without_reward", "completions/mean_length", "completions/max_length", "completions/clipped_ratio",
        "entropy", "approx_kl", "clip_ratio/low_mean", "clip_ratio/high_mean", "grad_norm", "lr", "loss", "loss/policy",
        "loss/gepo", "gepo/margin", "gepo/winner_variance", "gepo/pair_accuracy", "num_tokens",
    }  # fmt: skip
    learned = {"approx_kl", "clip_ratio/low_mean", "clip_ratio/high_mean"}  # absent where every advantage is zero
    assert all(wanted - learned <= set(row) for row in written), wanted - set(written[0])
    assert any(learned <= set(row) for row in written)
    assert all(row["verdicts/PASS"] + row["verdicts/WA"] + row["verdicts/INFRA"] == 16 for row in written)
    assert all(row["samples_without_reward"] == row["verdicts/INFRA"] for row in written)
    assert written[0]["gepo/margin"] == pytest.approx(0, abs=1e-4)  # the policy is its own reference at first
    timed = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert {f"time/{part}_s" for part in ("generate", "gepo", "old_logprobs", "reward_wait", "update", "step")} <= set(
        timed
    )
    assert latest_checkpoint(out / "checkpoints").name == "step-6"
    saved = load_config(out / "config.toml")
    assert saved == run.config
    model = AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32)
    assert torch.equal(tiny.weights_of(model), tiny.weights_of(run.policy))
    assert AutoTokenizer.from_pretrained(out / "model").eos_token_id == 1


@pytest.mark.parametrize(
    "assignments",
    [
        ("objective.advantages=grpo", "training.mini_batches=2", "training.num_iterations=2"),
        ("objective.advantages=reinforce++", "objective.kl_coef=0.05", "training.permute_rewards=true"),
        ("objective.w_rl=0",),
        ("objective.w_gepo=0", "objective.advantages=rloo"),
    ],
    ids=["grpo-mini-batches", "reinforce++-kl-permuted", "gepo-alone", "rl-alone"],
)
def test_a_resumed_run_ends_bit_for_bit_where_an_uninterrupted_one_does(
    assignments: tuple[str, ...], data: list[str], tmp_path: Path
) -> None:
    pool = tiny.FakePool()
    whole = run_with(configured(data, tmp_path / "whole", *assignments), pool)
    cut = configured(data, tmp_path / "cut", *assignments)
    run_with(cut, pool, stop_after=4)  # one step beyond the checkpoint of step 4: it is taken again
    assert [row["step"] for row in rows(tmp_path / "cut")] == [0, 1, 2, 3, 4]
    resumed = run_with(cut, pool, resume=True)
    assert torch.equal(tiny.weights_of(whole.policy), tiny.weights_of(resumed.policy))
    assert not torch.equal(tiny.weights_of(whole.policy), tiny.weights_of(tiny.tiny_model()))
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_weights(data: list[str], tmp_path: Path) -> None:
    """SIGKILL at random moments of set-up, steps, checkpoints and export; each resumption is a fresh process's work."""
    pool = tiny.FakePool()
    start = time.monotonic()
    whole = run_with(configured(data, tmp_path / "whole", "training.save_every=1"), pool)
    whole_s = time.monotonic() - start
    cut = configured(data, tmp_path / "cut", "training.save_every=1")
    draw, kills = random.Random(0), 0
    for _ in range(200):
        child = os.fork()
        if child == 0:
            try:
                run_with(cut, pool, resume=True)
                os._exit(0)
            finally:
                os._exit(1)
        # Early enough to hit every part, and ever later so that it gets on.
        deadline = time.monotonic() + draw.uniform(0.02, 0.5) * whole_s * (1 + kills / 10)
        status = 0
        while time.monotonic() < deadline:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                break
            time.sleep(0.01)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            continue
        assert os.waitstatus_to_exitcode(status) == 0
        break
    assert kills > 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "cut" / "model", dtype=torch.float32)
    assert torch.equal(tiny.weights_of(model), tiny.weights_of(whole.policy))
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_a_finished_run_resumed_does_nothing_but_export(data: list[str], tmp_path: Path) -> None:
    config = configured(data, tmp_path / "run", "training.steps=2")
    first = run_with(config, tiny.FakePool())
    again = run_with(config, tiny.FakePool(), resume=True)
    assert torch.equal(tiny.weights_of(first.policy), tiny.weights_of(again.policy))
    assert len(rows(tmp_path / "run")) == 2


def test_one_epoch_visits_every_problem_once(data: list[str], tmp_path: Path) -> None:
    run = set_up(
        configured(data, tmp_path / "run", "training.steps=0", "rollout.prompts_per_step=3"), WORLD, resume=False
    )
    assert run.total_steps == 2  # six problems


def test_held_out_problems_are_evaluated(data: list[str], tmp_path: Path) -> None:
    held_out = next(item for item in data if item.startswith("data.problems")).replace("data.problems", "data.held_out")
    config = configured(data, tmp_path / "run", held_out, "training.evaluate_every=4")
    run_with(config, tiny.FakePool())
    evaluated = [row["step"] for row in rows(tmp_path / "run") if "eval/pass_at_1" in row]
    assert evaluated == [3, 5]  # after the fourth step and after the last


# What a person can get wrong


def test_a_run_that_failed_before_its_first_step_leaves_its_directory_free(data: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        set_up(configured(data, tmp_path / "run", f"data.problems={tmp_path / 'nowhere'}"), WORLD, resume=False)
    run_with(configured(data, tmp_path / "run", "training.steps=1"), tiny.FakePool())
    assert "nowhere" not in (tmp_path / "run" / "config.toml").read_text()


def test_a_second_run_in_the_same_directory_needs_resume(data: list[str], tmp_path: Path) -> None:
    config = configured(data, tmp_path / "run", "training.steps=1")
    run_with(config, tiny.FakePool())
    with pytest.raises(UserError, match="add --resume"):
        set_up(config, WORLD, resume=False)
    with pytest.raises(UserError, match="optimizer.lr"):
        set_up(configured(data, tmp_path / "run", "training.steps=1", "optimizer.lr=1e-3"), WORLD, resume=True)


def test_a_tokenizer_or_a_length_the_model_does_not_know_is_refused(data: list[str], tmp_path: Path) -> None:
    model = tiny.save_tiny_model(tmp_path / "model")
    tokenizer = tiny.byte_tokenizer()
    tokenizer.add_tokens(["beyond"])
    tokenizer.save_pretrained(model)
    with pytest.raises(UserError, match="259 tokens, but the model knows only 258"):
        set_up(configured(data, tmp_path / "a", f"model.path={model}"), WORLD, resume=False)
    with pytest.raises(UserError, match="4096 positions; lower rollout.max_new_tokens"):
        set_up(configured(data, tmp_path / "b", "rollout.max_new_tokens=5000"), WORLD, resume=False)


def arguments(data: list[str], out: Path, *assignments: str) -> list[str]:
    sets = [part for item in (*data, *SMALL, *assignments) for part in ("--set", item)]
    return ["train", "cpu_tiny", "--out", str(out), *sets]


@pytest.mark.parametrize(
    ("assignment", "status", "words"),
    [
        ("optimizer.learning_rate=1", 2, "optimizer.learning_rate"),
        ("objective.advantages=ppo", 2, "objective.advantages"),
        ("data.problems=/no/such/file.jsonl", 1, "/no/such/file.jsonl"),
        ("model.path=/no/such/model", 1, "/no/such/model"),
        ("data.max_prompt_tokens=3", 1, "data.max_prompt_tokens"),
        ("gepo.max_tokens=3", 1, "gepo.max_tokens"),
    ],
)
def test_mistakes_are_one_sentence_on_stderr(
    assignment: str, status: int, words: str, data: list[str], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert main(arguments(data, tmp_path / "run", assignment)) == status
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("oorl train:")]
    assert len(said) == 1 and words in said[0]


def test_a_malformed_row_is_named_by_file_line_and_field(
    data: list[str], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    bad = tmp_path / "bad.jsonl"
    good = (
        Path(next(item for item in data if item.startswith("data.problems")).partition("=")[2]).read_text().splitlines()
    )
    row = json.loads(good[1])
    row["mode"] = "chat"
    bad.write_text("\n".join([good[0], json.dumps(row)]))
    assert main(arguments(data, tmp_path / "run", f"data.problems={bad}")) == 1
    assert f"{bad}:2: mode" in capfd.readouterr().err


def test_an_unknown_language_is_named(data: list[str], tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    bad = tmp_path / "bad.jsonl"
    good = (
        Path(next(item for item in data if item.startswith("data.problems")).partition("=")[2]).read_text().splitlines()
    )
    bad.write_text(json.dumps({**json.loads(good[0]), "target_lang": "cobol"}))
    assert main(arguments(data, tmp_path / "run", f"data.problems={bad}")) == 1
    assert "cobol" in capfd.readouterr().err


def test_ctrl_c_says_how_to_go_on(
    data: list[str], tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oorl.training.loop.train", interrupt)
    out = tmp_path / "a run"
    assert main(arguments(data, out)) == 130
    said = capfd.readouterr().err
    assert "--resume" in said and f"'{out}'" in said and "Traceback" not in said


@pytest.mark.slow
def test_the_command_with_real_unit_tests(data: list[str], tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """The whole way: rollouts judged by the reward pool itself, in a process apart."""
    out = tmp_path / "run"
    assert main(arguments(data, out, "training.steps=2")) == 0
    assert "2 steps done" in capfd.readouterr().out
    written = rows(out)
    # A random model never keeps the format: every verdict says so, and nothing is lost on the way.
    assert [row["verdicts/FORMAT"] + row["verdicts/INFRA"] for row in written] == [16, 16]
    assert all(row["reward"] == 0 and row["frac_reward_zero_std"] == 1 for row in written)
    assert (out / "model" / "config.json").exists()
