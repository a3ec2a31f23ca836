"""One rank of an ``oorl`` command: python command_worker.py ARGUMENT ...      (run by ``ranks.run_ranks``)"""

import sys

from oorl.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
