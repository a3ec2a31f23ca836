"""Whole rows of ``oorl.ir_group/1``: sound as records, their texts no IR at all."""

from __future__ import annotations

OUTCOMES = [{"ret": "1", "memory": {}}, {"ret": "-2", "memory": {}}]
WITNESS = {"input": 1, "kind": "ret", "expected": OUTCOMES[1], "got": {"ret": "2", "memory": {}}}


def winner(k: int, ir: str) -> dict:
    check = {"inputs": 2, "fills": 2, "codegens": 2, "mismatches": 0, "validator": None}
    return {
        "id": f"w{k}", "ir": ir, "base": "b0", "pipeline": [], "n_insts": 1, "alpha_sha": f"sha of {ir}",
        "check": check,
    }  # fmt: skip


def loser(k: int, ir: str) -> dict:
    return {
        "id": f"l{k}", "ir": ir, "parent": "w0", "operators": ["wrong_return"], "site": 1, "style": "direct",
        "reopt_pipeline": [], "n_insts": 1, "alpha_sha": f"sha of {ir}", "witness": WITNESS, "kill_rate": 0.5,
        "distance_parent": 0.25, "distance_nearest": 0.25, "bin": "easy",
    }  # fmt: skip


def group_row(k: int = 0) -> dict:
    """The k-th of many groups that share nothing."""
    mark = str(k) if k else ""
    return {
        "schema": "oorl.ir_group/1",
        "group_id": f"g{k}",
        "source": {
            "language": "c", "code": f"int f(int a){{return a{mark};}}", "entry": "f", "sha256": "00",
            "licence": "MIT", "origin": "",
        },
        "signature": {"ret": "i32", "params": [{"kind": "scalar", "name": "a", "type": "i32"}]},
        "inputs": {
            "seed": "0:f", "generator_version": 1, "n": 2, "n_ub_dropped": 0, "args": [["1"], ["-2"]],
            "expected": OUTCOMES,
        },
        "toolchain": {"frontend": "f", "optimizer": "o", "llvm": "20", "target": "t", "cpu": "baseline"},
        "naming": "numbered",
        "winners": [winner(0, "a" + mark), winner(1, "b" + mark)],
        "losers": [loser(0, "c" + mark)],
        "split": "train",
        "dedup_cluster": f"cluster {k}",
        "ref_scores": {},
    }  # fmt: skip


GROUP = group_row()
