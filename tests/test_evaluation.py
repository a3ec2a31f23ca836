"""Evaluation: rates by pair, the report and its table, ranking of IR, and the command on a real pool."""

import json

import pytest
import torch
from tiny import save_tiny_model, tiny_groups, tiny_model, tiny_problems

from oorl.cli import main
from oorl.data.problems import write_problems
from oorl.errors import UserError
from oorl.evaluation.evaluate import Outcome, by_pair, pass_rates
from oorl.evaluation.ranking import GroupScores, score_groups
from oorl.evaluation.report import draw_heat_map, summarize, table
from oorl.policy.model import Policy, load_tokenizer
from oorl.policy.prompts import Prompter
from oorl.policy.scoring import Budget
from oorl.reward import Result, Verdict


def result(reward):
    verdict = {1.0: Verdict.PASS, 0.0: Verdict.WA, None: Verdict.INFRA}[reward]
    return Result("j", verdict, reward, int(reward or 0), 1, (verdict,), 0.0, 0.0, "no php")


def outcome(problem, *rewards):
    return Outcome(problem, ("",) * len(rewards), tuple(result(reward) for reward in rewards))


def test_unjudged_samples_leave_numerator_and_denominator():
    first, second, third = tiny_problems(3)
    outcomes = [outcome(first, 1.0, 0.0, None), outcome(second, 1.0, 1.0, 1.0), outcome(third, None, None, None)]
    assert pass_rates(outcomes) == [0.5, 1.0]
    assert pass_rates(outcomes, 2) == [1.0, 1.0]
    assert by_pair(outcomes)["cpp->python"].mean == 0.75
    summary = summarize(outcomes, [1])
    assert summary["num_unjudged"] == 1 and summary["verdicts"] == {"INFRA": 4, "PASS": 4, "WA": 1}
    assert "75.0%" in table(summary, 1)


def test_nothing_judged_says_why():
    with pytest.raises(UserError, match="no php.*oorl doctor"):
        pass_rates([outcome(tiny_problems(1)[0], None)])


def test_heat_map_is_a_picture(tmp_path):
    draw_heat_map(summarize([outcome(tiny_problems(1)[0], 1.0)], [1]), 1, tmp_path / "m.png")
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_ranking_counts_pairs_and_half_ties():
    scores = GroupScores((-1.0, -2.0), (-2.0, -3.0, -0.5))
    # winner -1 beats -2 and -3; winner -2 ties with -2 and beats -3
    assert scores.share_ranked_right == pytest.approx((2 + 1.5) / 6)


def test_group_scores_are_the_models_own_log_probs(tmp_path):
    tokenizer = load_tokenizer(save_tiny_model(tmp_path / "m"))
    model, prompter, groups = tiny_model(), Prompter(tokenizer), tiny_groups(3)
    scores = score_groups(Policy(model), prompter, groups, Budget(row_tokens=256, batch_tokens=1024))
    for group, score in zip(groups, scores, strict=True):
        for side, means in (("winners", score.winners), ("losers", score.losers)):
            for member, mean in zip(getattr(group, side), means, strict=True):
                prompt, response = prompter.ir(group), prompter.response(member["ir"], "llvm")
                ids = torch.tensor([prompt + response])
                logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].double()
                expected = logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None]).mean()
                assert mean == pytest.approx(expected.item(), rel=1e-5)  # fp32 forward against a float64 softmax


def test_evaluate_command_writes_everything(tmp_path, capsys):
    model = save_tiny_model(tmp_path / "model")
    write_problems(tmp_path / "problems.jsonl", tiny_problems(3))
    command = ["evaluate", str(model), str(tmp_path / "problems.jsonl"), "--out", str(tmp_path / "out")]
    assert main([*command, "--samples", "2", "--temperature", "1", "--k", "1,2", "--max-new-tokens", "8"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    assert [(row["task_id"], row["sample_id"]) for row in rows] == [(f"add-{k}", s) for k in range(3) for s in (0, 1)]
    assert all(row["reward"] == 0 for row in rows)  # an untrained model closes no fence
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(report["pass_at_k"]) == {"1", "2"}
    assert (tmp_path / "out" / "matrix.png").exists()
    assert "pass@1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "extra, message",
    [
        (["--k", "3"], "k <= --samples"),
        (["--k", "one"], "comma-separated"),
        (["--samples", "4"], "greedy samples are all the same"),
    ],
)
def test_evaluate_refuses_what_cannot_be(tmp_path, capsys, extra, message):
    assert main(["evaluate", "nowhere", "nothing.jsonl", "--out", str(tmp_path), *extra]) == 2
    assert message in capsys.readouterr().err


def test_evaluate_names_what_is_not_a_model(tmp_path, capsys):
    write_problems(tmp_path / "problems.jsonl", tiny_problems(1))
    assert main(["evaluate", str(tmp_path), str(tmp_path / "problems.jsonl"), "--out", str(tmp_path / "o")]) == 1
    assert "config.json" in capsys.readouterr().err
