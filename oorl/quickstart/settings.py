"""Every number of the quickstart in one place; two presets, and all of it goes into the report."""

from __future__ import annotations

from dataclasses import dataclass

# Source and target of every translation direction the quickstart teaches.
PAIRS = (
    ("python", "cpp"),
    ("python", "java"),
    ("python", "php"),
    ("python", "bash"),
    ("python", "javascript"),
    ("cpp", "python"),
)


@dataclass(frozen=True)
class QuickstartSettings:
    """Sizes and hyper-parameters of a quickstart run; those of the OORL stage are in the recipe ``quickstart.toml``."""

    num_train_programs: int = 4000  # distinct canonical forms the warm-up and OORL draw from
    num_rl_problems: int = 1200  # of those, the ones made into problems with unit tests; every pair alike
    num_heldout_problems: int = 240  # spread evenly over PAIRS; no canonical form shared with training
    tests_per_problem: int = 8
    wrong_share: float = (
        0.6  # of warm-up targets whose languages differ in meaning: the share that is a wrong transliteration
    )
    num_train_groups: int = 150  # IR groups for GEPO
    num_heldout_groups: int = 110  # IR groups for the ranking measured before and after
    ir_max_chars: int = 600  # a member longer than this is dropped
    vocab_size: int = 1024
    hidden_size: int = 128
    num_layers: int = 4
    warmup_steps: int = 850
    warmup_batch: int = 32  # translation pairs a step
    warmup_ir_batch: int = 2  # C -> IR pairs a step
    warmup_lr: float = 2e-3
    eval_samples: int = 4  # sampled completions a held-out problem, at temperature 1; one greedy completion beside them
    max_new_tokens: int = 128
    train_steps: int = 80  # OORL steps


FULL = QuickstartSettings()
SMOKE = QuickstartSettings(
    num_train_programs=600,
    num_rl_problems=60,
    num_heldout_problems=24,
    num_train_groups=6,
    num_heldout_groups=6,
    warmup_steps=40,
    eval_samples=1,
    max_new_tokens=96,
    train_steps=2,
)
