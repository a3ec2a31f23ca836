"""One of several ranks: gradients of a model whose head is a LinearTokenLogprobs, sharded in several ways.

python head_worker.py OUT      (run by test_head_module, which holds them against one unsharded process)
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from oorl_kernels import LinearTokenLogprobs
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

VOCAB, HIDDEN, ROWS, TOKENS = 23, 8, 4, 5
CASES = {  # name: (tied to the embedding, the head is a group of its own, recomputed in the backward)
    "own group": (False, True, False),
    "root group": (False, False, False),
    "tied": (True, False, False),
    "own group, checkpointed": (False, True, True),
}


class Model(nn.Module):
    def __init__(self, tied: bool, checkpointed: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCAB, HIDDEN)
        self.body = nn.Linear(HIDDEN, HIDDEN)
        self.lm_head = LinearTokenLogprobs.convert(nn.Linear(HIDDEN, VOCAB, bias=not tied))
        self.checkpointed = checkpointed
        if tied:
            self.lm_head.weight = self.embed.weight
        self.double()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        hidden_states, target_ids = self.body(self.embed(input_ids)).tanh()[:, :-1], input_ids[:, 1:]
        options = dict(temperature=0.7, softcap=3.0, entropy="grad")
        if self.checkpointed:
            scored = checkpoint(self.lm_head, hidden_states, target_ids, use_reentrant=False, **options)
        else:
            scored = self.lm_head(hidden_states, target_ids, **options)
        return scored.logprobs.mean() + 0.3 * scored.entropy.mean()


def gradients(model: nn.Module, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two micro-batches, accumulated."""
    for part in input_ids.chunk(2):
        model(part).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def batch() -> torch.Tensor:
    return torch.randint(VOCAB, (ROWS, TOKENS), generator=torch.Generator().manual_seed(1))


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    share = batch().chunk(dist.get_world_size())[dist.get_rank()]
    found = {}
    for name, (tied, own_group, checkpointed) in CASES.items():
        model = Model(tied, checkpointed)
        if own_group:
            fully_shard(model.lm_head)
        fully_shard(model)
        found[name] = {key: grad.full_tensor() for key, grad in gradients(model, share).items()}
    if dist.get_rank() == 0:
        torch.save(found, sys.argv[1])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
