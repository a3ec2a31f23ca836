"""Calling members through ctypes: the road of reverification, which shares no driver with the build's harness.

Every input is laid out once. A call copies its image into place, calls, and copies what is there afterwards into
memory shared with the parent: a frame of fixed size, the result (8 bytes) and the buffers with what lies around them.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
from collections.abc import Iterator, Sequence

from oorl.ir.execute import CODEGENS, compile_module, limit_this_process
from oorl.ir.layout import FILLS, Outcome, outcome_json
from oorl.ir.signature import SCALARS, CSignature

_FILLS = FILLS[:2]
EVERY_RUN = tuple((codegen, fill) for codegen in CODEGENS for fill in range(len(_FILLS)))
MEMBER_CPU_S = 2.0
PAD = 64  # bytes on either side of a buffer that must not change

_CONTROL_BYTES = 16  # the member being run, and whether all are done; 8 bytes each
_CTYPES = {
    "i1": ctypes.c_bool, "i8": ctypes.c_int8, "u8": ctypes.c_uint8, "char": ctypes.c_uint8, "i16": ctypes.c_int16,
    "u16": ctypes.c_uint16, "i32": ctypes.c_int32, "u32": ctypes.c_uint32, "i64": ctypes.c_int64,
    "u64": ctypes.c_uint64, "f32": ctypes.c_float, "f64": ctypes.c_double,
}  # fmt: skip

Runs = list[list[dict | None]]  # by run of EVERY_RUN, by input; None: something outside the buffers changed


class Calls:
    """Calls functions of one signature on a fixed list of inputs."""

    def __init__(self, signature: CSignature, entry: str, inputs: Sequence[list]) -> None:
        self.signature, self.entry = signature, entry
        self._places = [_places(signature, arguments) for arguments in inputs]
        self._bytes = sum(_aligned(p.room) + 2 * PAD for p in signature.buffers)
        # A place for each fill: a result made of an address differs between them.
        self._memory = [ctypes.create_string_buffer(self._bytes + 16) for _ in _FILLS]
        self._starts = [_aligned(ctypes.addressof(memory)) for memory in self._memory]
        self._images = [[self._image(k, arguments, fill) for k, arguments in enumerate(inputs)] for fill in _FILLS]
        self._values = [
            [self._arguments(k, arguments, start) for k, arguments in enumerate(inputs)] for start in self._starts
        ]
        self._known: dict[tuple[int, int, bytes], dict | None] = {}  # most frames are those of other members

    def run(self, texts: Sequence[str]) -> Iterator[Runs | str]:
        """Run every text, all in one child; outcomes under every codegen level and fill, or how it ended, after which
        there are no more. What may harm others is run alone. ValueError when a text is not valid IR."""
        engines = [{codegen: compile_module(text, codegen) for codegen in CODEGENS} for text in texts]
        addresses = [{c: engine.get_function_address(self.entry) for c, engine in pair.items()} for pair in engines]
        inputs, frame = len(self._places), 8 + self._bytes
        block = frame * inputs * len(EVERY_RUN)
        with mmap.mmap(-1, _CONTROL_BYTES + block * len(texts)) as shared:
            status = self._in_child(addresses, shared, block)
            current, done = struct.unpack_from("<QQ", shared)
            for member in range(len(texts) if done else min(current, len(texts) - 1)):
                data = shared[_CONTROL_BYTES + member * block :][:block]
                frames = [data[k * frame : (k + 1) * frame] for k in range(inputs * len(EVERY_RUN))]
                yield [
                    [self._outcome(k, fill, frames[r * inputs + k]) for k in range(inputs)]
                    for r, (_, fill) in enumerate(EVERY_RUN)
                ]
            if not done:
                yield "timeout" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF else "crash"

    def _in_child(self, addresses: list[dict[int, int]], shared: mmap.mmap, block: int) -> int:
        child = os.fork()
        if child == 0:
            try:
                limit_this_process()
                for member, of_member in enumerate(addresses):
                    struct.pack_into("<Q", shared, 0, member)
                    signal.setitimer(signal.ITIMER_PROF, MEMBER_CPU_S)
                    self._call(of_member, shared, _CONTROL_BYTES + member * block)
                signal.setitimer(signal.ITIMER_PROF, 0)
                struct.pack_into("<Q", shared, 8, 1)
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitpid(child, 0)[1]

    def _call(self, addresses: dict[int, int], shared: mmap.mmap, position: int) -> None:
        """In the child: every run of one text on every input, one frame after the other."""
        base, size = ctypes.addressof(ctypes.c_char.from_buffer(shared)), self._bytes
        kinds = [_CTYPES[p.type] if p.kind == "scalar" else ctypes.c_void_p for p in self.signature.params]
        ret = self.signature.ret
        prototype = ctypes.CFUNCTYPE(_CTYPES[ret] if ret else None, *kinds)
        pack = struct.Struct("<" + SCALARS[ret].format).pack_into if ret else None
        for codegen, fill in EVERY_RUN:
            function = prototype(addresses[codegen])
            place = self._starts[fill]
            for image, values in zip(self._images[fill], self._values[fill], strict=True):
                ctypes.memmove(place, image, size)
                result = function(*values)
                if pack:
                    pack(shared, position, result)
                ctypes.memmove(base + position + 8, place, size)
                position += 8 + size

    def _image(self, k: int, arguments: list, fill: int) -> bytes:
        image = bytearray([fill]) * self._bytes
        buffers = [
            p.pack(value, fill) for p, value in zip(self.signature.params, arguments, strict=True) if p.kind == "buffer"
        ]
        for (start, _), data in zip(self._places[k], buffers, strict=True):
            image[start : start + len(data)] = data
        return bytes(image)

    def _arguments(self, k: int, arguments: list, start: int) -> list:
        places = iter(self._places[k])
        return [
            _CTYPES[p.type](value) if p.kind == "scalar" else ctypes.c_void_p(start + next(places)[0])
            for p, value in zip(self.signature.params, arguments, strict=True)
        ]

    def _outcome(self, k: int, fill: int, frame: bytes) -> dict | None:
        key = (k, fill, frame)
        if key not in self._known:
            self._known[key] = self._read(*key)
        return self._known[key]

    def _read(self, k: int, fill: int, frame: bytes) -> dict | None:
        """The outcome that a frame shows; None when anything outside the buffers has changed."""
        before, after = self._images[fill][k], frame[8:]
        memory, position, intact = [], 0, True
        for start, length in self._places[k]:
            intact &= after[position:start] == before[position:start]
            position = start + length
            memory.append(after[start:position])
        intact &= after[position:] == before[position:]
        return outcome_json(self.signature, Outcome(frame[:8], tuple(memory))) if intact else None


def _places(signature: CSignature, arguments: list) -> list[tuple[int, int]]:
    """Where each buffer of an input stands, and its bytes: pads lie close around it, whatever its length."""
    places, position = [], 0
    for p, value in zip(signature.params, arguments, strict=True):
        if p.kind == "buffer":
            places.append((position + PAD, len(value) * p.size))
            position = _aligned(position + PAD + len(value) * p.size) + PAD
    return places


def _aligned(address: int) -> int:
    return -(-address // 16) * 16
