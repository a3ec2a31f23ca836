"""OORL: on-policy reinforcement learning with group equivalent preferences, for code models (arXiv 2505.12723)."""

from importlib import metadata

try:
    __version__ = metadata.version("oorl-kernels")
except metadata.PackageNotFoundError:  # running from a source tree with PYTHONPATH=kernels:.
    __version__ = "0+source"
