"""Starts ranks as torchrun would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_ranks(size: int, script: str, said: Path, *arguments: str) -> None:
    """Start ``size`` ranks as torchrun would and wait for all; what they say goes to the file ``said``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    children = []
    with said.open("w") as output:
        for rank in range(size):
            command = [sys.executable, str(HERE / script), *arguments]
            environment = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            children.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
    try:
        for child in children:
            assert child.wait(timeout=400) == 0, said.read_text()[-3000:]
    finally:
        for child in children:
            child.kill()
            child.wait()
