"""Finished stages of a run, kept on disk: an interrupted quickstart goes on where it stopped."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from oorl.errors import UserError


class Stages:
    """Runs named stages once; each leaves a JSON result and its wall time in ``DIR/stages.json``.

    Args:
        directory: of the run.
        identity: what must be equal for finished stages to count (seed, settings); another run's directory is refused.
    """

    def __init__(self, directory: Path, identity: dict) -> None:
        self._path = directory / "stages.json"
        self._state = {"identity": identity, "results": {}, "wall_s": {}}
        if self._path.exists():
            kept = json.loads(self._path.read_text())
            if kept["identity"] != identity:
                raise UserError(f"{directory}: holds a run with another seed or other settings; give another --out")
            self._state = kept
            print(f"going on in {directory}: finished before: {', '.join(kept['results']) or 'nothing'}")
        else:
            directory.mkdir(parents=True, exist_ok=True)
            self._save()

    def adopt(self, other: Path, names: Sequence[str], identity: Sequence[str], folders: Sequence[str]) -> None:
        """Take finished stages and their folders over from another run that agrees in the ``identity`` keys named."""
        if self._state["results"]:
            return  # this run has begun, with or without them
        try:
            kept = json.loads((other / "stages.json").read_text())
        except (OSError, ValueError) as err:
            raise UserError(f"{other}: holds no quickstart run (no readable stages.json); give its --out") from err
        missing = [name for name in names if name not in kept["results"]]
        if missing:
            raise UserError(f"{other}: has not finished {', '.join(missing)} yet; let it go on first")
        if any(kept["identity"][key] != self._state["identity"][key] for key in identity):
            raise UserError(
                f"{other}: differs in {' or '.join(identity)}; only a run that agrees in them can be built on"
            )
        for folder in folders:
            shutil.copytree(other / folder, self._path.parent / folder, dirs_exist_ok=True)
        for part in ("results", "wall_s"):
            self._state[part] = {name: kept[part][name] for name in names}
        self._save()

    @property
    def wall_s(self) -> dict[str, float]:
        """Seconds each finished stage took, in order."""
        return dict(self._state["wall_s"])

    def run(self, name: str, title: str, stage: Callable[[], dict]) -> dict:
        """Return the stage's stored result, or announce it, run it and store what it returns."""
        if name in self._state["results"]:
            return self._state["results"][name]
        print(f"\n== {title}", flush=True)
        start = time.perf_counter()
        result = json.loads(json.dumps(stage()))  # what a later run would read back
        self._state["wall_s"][name] = round(time.perf_counter() - start, 1)
        self._state["results"][name] = result
        self._save()
        return result

    def _save(self) -> None:
        partial = self._path.with_suffix(".incomplete")
        partial.write_text(json.dumps(self._state, indent=1) + "\n")
        os.replace(partial, self._path)
