"""GRPO with TRL's trainer and these log-probs: python trl_grpo.py MODEL (a directory or name for from_pretrained)."""

import sys

import torch
from datasets import Dataset
from oorl_kernels.integrations.trl import FusedLogprobsMixin
from trl import GRPOConfig, GRPOTrainer


class Trainer(FusedLogprobsMixin, GRPOTrainer):
    """TRL's trainer; its per-token log-probs come from hidden states and the LM head."""


def variety(completions, **_):
    return [len(set(text)) / max(len(text), 1) for text in completions]


prompts = Dataset.from_dict({"prompt": ["int main() {", "def f(x):", "SELECT", "fn main() {"] * 8})
args = GRPOConfig(
    "grpo-out", max_completion_length=16, max_steps=5, logging_steps=1, use_cpu=not torch.cuda.is_available()
)
trainer = Trainer(model=sys.argv[1], reward_funcs=variety, args=args, train_dataset=prompts)
trainer.train()
