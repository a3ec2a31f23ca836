"""``oorl evaluate``: pass@k of a model directory on a file of problems."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from oorl.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="directory saved by transformers' save_pretrained")
    parser.add_argument("problems", metavar="PROBLEMS.jsonl", help="problems, schema oorl.translation/1")
    parser.add_argument("--out", required=True, metavar="DIR", help="where completions, verdicts and the report go")
    parser.add_argument("--samples", type=int, default=1, help="completions a problem (default 1)")
    parser.add_argument("--k", default="1", help="comma-separated k of pass@k (default 1), each at most --samples")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    parser.add_argument("--top-p", type=float, default=1.0, help="nucleus of the sampling (default 1: all of it)")
    parser.add_argument("--max-new-tokens", type=int, default=512, help="longest completion (default 512)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling (default 0)")
    parser.add_argument("--slots", type=int, default=0, help="programs run at once (default: by the machine's cores)")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write ``completions.jsonl verdicts.jsonl report.json matrix.png`` under --out, print the table."""
    ks = _parse_ks(args.k, args.samples)
    if args.samples > 1 and args.temperature == 0:
        raise UsageError(f"--samples {args.samples} needs --temperature above 0: greedy samples are all the same")
    # torch and transformers load only once the arguments are known to be right
    from oorl.data.jsonl import write_jsonl
    from oorl.data.problems import read_problems
    from oorl.evaluation.evaluate import evaluate
    from oorl.evaluation.report import draw_heat_map, summarize, table
    from oorl.policy.generation import Sampling
    from oorl.policy.model import load_policy, load_tokenizer
    from oorl.policy.prompts import Prompter
    from oorl.reward import PoolConfig, RewardPool
    from oorl.reward.command import Completion, verdict_line

    problems = read_problems(args.problems)
    policy, tokenizer = load_policy(args.model), load_tokenizer(args.model)
    sampling = Sampling(
        args.max_new_tokens, tokenizer.eos_token_id, args.temperature, args.top_p, group_size=args.samples
    )
    with RewardPool(PoolConfig(slots=args.slots, hidden_paths=(os.path.realpath(args.problems),))) as pool:
        outcomes = evaluate(policy, Prompter(tokenizer), problems, pool, sampling, seed=args.seed)
    out = Path(args.out)
    drawn = [
        (Completion(outcome.problem.task_id, sample, text), outcome.results[sample])
        for outcome in outcomes
        for sample, text in enumerate(outcome.completions)
    ]
    write_jsonl(out / "completions.jsonl", (vars(completion) for completion, _ in drawn))
    write_jsonl(out / "verdicts.jsonl", (verdict_line(completion, result) for completion, result in drawn))
    asked = {name: value for name, value in vars(args).items() if name not in ("command", "debug")}
    summary = {**asked, **summarize(outcomes, ks)}
    (out / "report.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw_heat_map(summary, ks[0], out / "matrix.png")
    print(table(summary, ks[0]))
    return 0


def _parse_ks(text: str, samples: int) -> list[int]:
    try:
        ks = sorted({int(part) for part in text.split(",")})
    except ValueError as err:
        raise UsageError(
            f"--k {text!r} is not a comma-separated list of whole numbers; write for instance 1,10"
        ) from err
    if ks[0] < 1 or ks[-1] > samples:
        raise UsageError(f"--k {text} needs 1 <= k <= --samples ({samples}); draw more samples or ask for a smaller k")
    return ks
