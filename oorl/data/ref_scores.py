"""Reference scores in a record of an IR group: ``{key: {member id: {"score": number, "tokens": digest}}}``.

The key names the reference, the digest the token ids that it gave the score to (``oorl.training.reference``).
"""

from __future__ import annotations

import sys
from typing import Any


def check_ref_scores(scores: Any) -> None:
    """Raise ValueError (``WrongType: field: reason``) unless every score is a finite number with its digest."""
    if not isinstance(scores, dict):
        raise ValueError(f"WrongType: ref_scores: expected an object, found {scores!r}"[:300])
    for key, entries in scores.items():
        if not isinstance(entries, dict):
            raise ValueError(f"WrongType: ref_scores.{key}: expected an object, found {entries!r}"[:300])
        for name, entry in entries.items():
            if not _is_entry(entry):
                expected = "an object with a finite score and the digest of its tokens"
                raise ValueError(f"WrongType: ref_scores.{key}.{name}: expected {expected}, found {entry!r}"[:400])


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("tokens"), str):
        return False
    score = entry.get("score")
    # Compared, not converted: JSON holds whole numbers that no float can take.
    return isinstance(score, int | float) and not isinstance(score, bool) and abs(score) <= sys.float_info.max
