"""The memory of guarded calls: a region that holds their buffers and locals, with marks of what may be read (memory.c).

There is one for a process; children that call have copies of their own.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from dataclasses import dataclass

from oorl.ir.code import support
from oorl.ir.llvm import binding

REGION_BYTES = 8 << 20  # the marks take as much again
LOCALS = 1 << 16  # where locals begin; before them lie arenas of buffers
_NAMES = "take enter leave local unwritten read write copy".split()


class _State(ctypes.Structure):
    _fields_ = [
        ("region", ctypes.c_uint64), ("blocks", ctypes.c_uint64), ("fill", ctypes.c_uint64), ("first", ctypes.c_uint64),
        ("strict", ctypes.c_uint64),
    ]  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """The region's address, and the state that ``prepare`` sets."""

    region: int
    state: _State
    begin: ctypes._CFuncPtr  # forgets the locals of a call that trapped
    kept: tuple  # what owns the region and the code

    def prepare(self, blocks: int, fill: int, shift: int, strict: bool) -> None:
        """Before calls: the address of the blocks left, the byte that fills locals, how far these are shifted, and
        whether it is a trap to read what was never written, or an address as anything else.
        """
        state = self.state
        state.blocks, state.fill, state.first, state.strict = blocks, fill, LOCALS + shift, strict
        self.begin()


@functools.cache
def memory() -> Memory:
    """This process's; its functions are known to all code that is compiled later."""
    engine = support("memory.c")
    for name in _NAMES:
        binding.add_symbol(f"oorl_{name}", engine.get_function_address(f"oorl_{name}"))
    pages = mmap.mmap(-1, 2 * REGION_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    region = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    state = _State.from_address(engine.get_global_value_address("oorl_memory"))
    state.region = region
    begin = ctypes.CFUNCTYPE(None)(engine.get_function_address("oorl_begin"))
    return Memory(region, state, begin, (pages, engine))
