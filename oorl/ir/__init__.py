"""IR groups: LLVM IRs equivalent to a source function (winners), and IRs that are not (losers), all verified by
running.
"""

from oorl.ir.config import IRConfig
from oorl.ir.csource import Source, sources_of_file
from oorl.ir.files import build_file
from oorl.ir.generator import generated_sources
from oorl.ir.groups import Outcome, build_groups

__all__ = ["IRConfig", "Outcome", "Source", "build_file", "build_groups", "generated_sources", "sources_of_file"]
