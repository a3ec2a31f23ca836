"""The README is code too: its example runs, what it names and links exists."""

import re
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_example_runs_and_gives_gradients():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    torch.manual_seed(0)
    exec(example, names)  # noqa: S102 - our own README
    for name in ("hidden_states", "lm_head_weight"):
        gradient = names[name].grad
        assert gradient.isfinite().all() and gradient.abs().sum() > 0
    assert torch.isfinite(names["loss"])


def test_links_lead_somewhere_and_it_stays_short():
    assert len(README.splitlines()) < 200
    for page in [README, *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)\)", page):
            if not target.startswith("http"):
                assert (ROOT / target).exists() or (ROOT / "docs" / target).exists(), target


def test_named_scripts_and_results_exist():
    for path in re.findall(r"`((?:scripts|bench|docs|oorl|kernels)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
