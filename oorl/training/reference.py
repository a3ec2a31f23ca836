"""Reference scores of IR groups: what GEPO compares the policy with, found once, so that no reference model is held.

Groups are static and the reference is the model as it was before training, so a member's score never changes. It is
known by two names: the *key*, of all that decides how the reference scores (weights, tokenizer, wording, dtype,
normalization), and the digest of the token ids that were scored. Scores stand in the records, where ``oorl data
reference`` writes them, and in a run's own journal.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

import torch
from tqdm import tqdm

from oorl.data.ir_groups import IRGroup
from oorl.data.jsonl import write_jsonl
from oorl.errors import UserError
from oorl.policy.model import Policy
from oorl.policy.preference import PreferenceGroup, score_members
from oorl.policy.prompts import Prompter
from oorl.policy.scoring import Budget
from oorl.training.gepo import pack_groups
from oorl.training.mesh import World

GROUPS_AT_ONCE = 32  # a rank's, between two entries of the journal: the most that an interrupt costs


def reference_key(model_dir: Path, prompter: Prompter, *, length_normalize: bool, device: torch.device) -> str:
    """sha256 of all that decides a reference score: weights, tokenizer, template, dtype, length_normalize."""
    digest = hashlib.sha256()
    for path in sorted([model_dir / "config.json", *model_dir.glob("*.safetensors"), *model_dir.glob("*.bin")]):
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    dtype = "bfloat16" if device.type == "cuda" else "float32"
    digest.update(f"{prompter.fingerprint}/{dtype}/{length_normalize}".encode())
    return digest.hexdigest()


def stored_scores(record: IRGroup, key: str) -> dict[str, float]:
    """The scores a record holds under ``key``, by digest of the tokens that had them."""
    return {entry["tokens"]: float(entry["score"]) for entry in record.ref_scores.get(key, {}).values()}


class ScoreJournal:
    """Scores by digest under one key, each entry written out before the next is computed.

    Opened on the main rank with a path, on the others with None: they take its scores and write nothing. A kill may
    cut the last line short; the next to open the journal leaves that line out.
    """

    def __init__(self, path: Path | None, key: str, world: World) -> None:
        self.path, self.key = path, key
        self._file: IO[str] | None = None
        self.scores: dict[str, float] = world.from_main(self._read() if path else {})

    def add(self, scores: Mapping[str, float]) -> None:
        """Take new scores, and write them out on the main rank."""
        self.scores.update(scores)
        if self.path is None:
            return
        try:
            if self._file is None:
                write_jsonl(self.path, _whole_rows(self.path))
                self._file = self.path.open("a", encoding="utf-8")
            self._file.write(json.dumps({"key": self.key, "scores": scores}) + "\n")
            self._file.flush()
        except OSError as err:
            raise UserError(f"cannot write {self.path}: {err.strerror}; free some space and start again") from err

    def _read(self) -> dict[str, float]:
        rows = [row["scores"] for row in _whole_rows(self.path) if row.get("key") == self.key]
        return {digest: score for scores in rows for digest, score in scores.items()}

    def __enter__(self) -> ScoreJournal:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()


def score_missing(
    policy: Policy,
    groups: Sequence[PreferenceGroup],
    journal: ScoreJournal,
    budget: Budget,
    world: World,
    *,
    length_normalize: bool,
    progress: bool = False,
) -> int:
    """Score every group of which the journal lacks a member, into the journal; returns how many members that were.

    Every rank calls it with the same groups and scores its share.
    """
    missing = [group for group in groups if not all(digest in journal.scores for digest in group.digests)]
    at_once = GROUPS_AT_ONCE * world.size
    with tqdm(
        total=len(missing), desc="reference scores", unit="group", file=sys.stderr, disable=not (progress and missing)
    ) as bar:
        for start in range(0, len(missing), at_once):
            chunk = missing[start : start + at_once]
            mine = chunk[world.rank :: world.size]
            scores = score_members(policy, pack_groups(mine, budget, world), length_normalize=length_normalize)
            digests = [digest for group in mine for digest in group.digests]
            found: dict[str, float] = {}
            for part in world.gather(dict(zip(digests, scores.tolist(), strict=True))):
                found |= part
            if not all(map(math.isfinite, found.values())):
                names = f"{chunk[0].group_id} .. {chunk[-1].group_id}"
                raise UserError(f"the reference gives members of the groups {names} no finite score; check its weights")
            journal.add(found)
            bar.update(len(chunk))
    return sum(len(group.members) for group in missing)


def with_reference(
    policy: Policy,
    groups: Sequence[PreferenceGroup],
    stored: Mapping[str, float],
    journal: ScoreJournal,
    budget: Budget,
    world: World,
    *,
    length_normalize: bool,
) -> list[PreferenceGroup]:
    """Give every group its reference scores: ``stored`` ones (of records) or the journal's, else ``policy``'s.

    ``policy`` must hold the reference's weights, which are those of the run's start. When all scores are known it is
    not run at all.
    """
    journal.scores |= world.from_main(stored)  # the ranks may not see the file alike
    score_missing(policy, groups, journal, budget, world, length_normalize=length_normalize, progress=world.is_main)
    return [replace(group, ref_scores=tuple(journal.scores[digest] for digest in group.digests)) for group in groups]


def _whole_rows(path: Path) -> list[dict]:
    rows = []
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # cut short by a kill
                continue
            if isinstance(row, dict) and isinstance(row.get("scores"), dict):
                rows.append(row)
    return rows
