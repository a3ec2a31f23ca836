"""Benchmarks of the kernels: named shapes, a correctness gate, interleaved timing, rows and what is drawn from them."""

import os

# The profiler (which counts CPU allocations) announces every start and stop on stderr below this level.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
# It also warns of tensors that were there before it.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
