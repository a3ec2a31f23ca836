"""One of several ranks: what TRL asks of its model, answered by one that FSDP2 has sharded.

python fused_head_worker.py OUT      (run by test_integration_trl, which holds it against one unsharded process)
"""

from __future__ import annotations

import sys

import tiny
import torch
import torch.distributed as dist
from oorl_kernels.integrations.trl import install_fused_head
from torch.distributed.fsdp import fully_shard

ROWS, TOKENS = 4, 9
CASES = {"tied": True, "untied": False}  # untied, the head is a group of its own


def gradients(model: torch.nn.Module, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    output = model(input_ids=rows, attention_mask=torch.ones_like(rows), labels=rows, fused_lm_head=True)
    (output.log_probs.mean() + 0.3 * output.entropy.mean()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def make(tied: bool) -> torch.nn.Module:
    model = tiny.tiny_model(tied=tied).double()
    install_fused_head(model, temperature=0.7, entropy="grad")
    return model


def batch() -> torch.Tensor:
    return torch.randint(2, 258, (ROWS, TOKENS), generator=torch.Generator().manual_seed(1))


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    share = batch().chunk(dist.get_world_size())[dist.get_rank()]
    found = {}
    for name, tied in CASES.items():
        model = make(tied)
        for layer in model.model.layers:
            fully_shard(layer)
        if not tied:
            fully_shard(model.lm_head)
        fully_shard(model)
        found[name] = {key: grad.full_tensor() for key, grad in gradients(model, share).items()}
    if dist.get_rank() == 0:
        torch.save(found, sys.argv[1])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
