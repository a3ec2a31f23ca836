"""``python -m oorl``: the same as the ``oorl`` command, for torchrun."""

import sys

from oorl.cli import main

sys.exit(main())
