"""How the LM-head kernels are launched on each NVIDIA generation, known without a GPU.

A configuration depends on the device's generation and the dtype alone, never on the number of tokens: so a row's
result does not depend on the batch around it. `tuned/sm_XX.json`, measured on a device of that generation, wins over
the heuristic here, which fits the shared memory of the generation.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

TUNED = Path(__file__).parent / "tuned"
KERNELS = ("token_logprobs_fwd", "token_logprobs_dlogits")
# Shared memory a block may use, in bytes; sm_86 and sm_89 have less than sm_80, sm_120 less than sm_100.
SHARED_BYTES = {(8, 0): 166912, (8, 7): 166912, (9, 0): 232448, (10, 0): 232448, (10, 3): 232448}
SMALL_SHARED_BYTES = 101376


@dataclass(frozen=True)
class HeadConfig:
    """One launch of a head kernel: tile sizes in elements, the order of tiles, and the compiler's knobs."""

    block_n: int
    """Rows (tokens) of a tile of logits."""
    block_v: int
    """Columns (vocabulary) of a tile of logits."""
    block_h: int
    """Depth of one step of the product."""
    group_n: int
    """Row tiles that share a column tile while it is in the L2 cache."""
    split_tiles: int
    """Column tiles one program of the forward walks through; its partial sums are merged afterwards."""
    num_warps: int
    num_stages: int

    def shared_bytes(self, itemsize: int) -> int:
        """What the pipelined operands take: a lower bound for the compiler's own count."""
        return self.num_stages * (self.block_n + self.block_v) * self.block_h * itemsize

    def narrowed(self) -> HeadConfig:
        """For a launch that holds a second tile of float32 in registers: at most 128 columns, or it would spill."""
        return replace(self, block_v=min(self.block_v, 128))


# Small tiles, so that a few dozen rows and columns already exercise every loop, mask and merge.
INTERPRETER = HeadConfig(block_n=16, block_v=32, block_h=32, group_n=2, split_tiles=2, num_warps=4, num_stages=1)


def heuristic(kernel: str, capability: tuple[int, int], itemsize: int) -> HeadConfig:
    """Tiles that keep a generation's matrix units busy, with as many stages as its shared memory holds."""
    split_tiles = 16 if kernel == "token_logprobs_fwd" else 1
    if capability[0] >= 9 and capability[0] < 12:
        block_v = 256 if itemsize == 2 else 128  # products in full float32 run out of registers on the wider tile
        config = HeadConfig(128, block_v, 128 // itemsize, 8, split_tiles // 2 or 1, num_warps=8, num_stages=4)
    else:
        config = HeadConfig(128, 128, 64 // itemsize, 8, split_tiles, num_warps=8, num_stages=4)
    limit = SHARED_BYTES.get(capability, SMALL_SHARED_BYTES)
    while config.num_stages > 2 and config.shared_bytes(itemsize) > 0.9 * limit:
        config = replace(config, num_stages=config.num_stages - 1)
    return config


@functools.cache
def read_tuned(capability: tuple[int, int]) -> dict[str, dict[str, HeadConfig]]:
    """{kernel: {dtype: configuration}} measured on this generation; empty where nobody has measured."""
    path = TUNED / f"sm_{capability[0]}{capability[1]}.json"
    if not path.exists():
        return {}
    rows = json.loads(path.read_text())["head"]
    return {kernel: {dtype: HeadConfig(**row) for dtype, row in rows[kernel].items()} for kernel in rows}


def head_config(kernel: str, capability: tuple[int, int] | None, dtype: torch.dtype) -> HeadConfig:
    """The configuration of one of KERNELS; capability None is the interpreter."""
    if capability is None:
        return INTERPRETER
    tuned = read_tuned(capability).get(kernel, {}).get(str(dtype).removeprefix("torch."))
    return tuned or heuristic(kernel, capability, dtype.itemsize)


def config_source(capability: tuple[int, int]) -> str:
    """Where configurations come from, for `python -m oorl_kernels.info`."""
    name = f"tuned/sm_{capability[0]}{capability[1]}.json"
    return name if read_tuned(capability) else f"heuristic ({name} not measured)"
