"""Taking the program out of a completion, by the format rule of training or of evaluation.

A fence opens with a line of three or more backticks and an optional tag, and closes with a line of nothing but at
least as many backticks (blanks around are allowed, up to three before). A fence whose tag is empty or the target
language's *matches*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from oorl.reward.languages import LANGUAGES

Rule = Literal["train", "evaluate", "none"]

_OPENING = re.compile(r" {0,3}(`{3,})([^`]*)")
_CLOSING = re.compile(r" {0,3}(`{3,})[ \t]*")
_THINKING = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class Fence:
    """One fenced block; ``closed`` is False when the completion ended inside it."""

    tag: str
    code: str
    closed: bool


def extract_code(completion: str, target_lang: str, rule: Rule) -> str | None:
    """The program in a completion, or None when the completion breaks the rule.

    ``train``: after one optional leading think block, exactly one fence, closed and matching. ``evaluate``: the last
    closed matching fence, wherever. ``none``: the completion is the program itself.
    """
    if rule == "none":
        return completion
    tags = LANGUAGES[target_lang].fence_tags
    if rule == "train":
        thinking = _THINKING.match(completion)
        fences = find_fences(completion[thinking.end() :] if thinking else completion)
        if len(fences) != 1 or not _matches(fences[0], tags):
            return None
        return fences[0].code
    if rule == "evaluate":
        return next((fence.code for fence in reversed(find_fences(completion)) if _matches(fence, tags)), None)
    raise ValueError(f"rule {rule!r} is none of train, evaluate, none")


def find_fences(text: str) -> list[Fence]:
    """Every fenced block in order; line ends come out as LF."""
    fences: list[Fence] = []
    ticks, tag, body = 0, "", []
    for line in text.replace("\r\n", "\n").split("\n"):
        if not ticks:
            opening = _OPENING.fullmatch(line)
            if opening:
                ticks, tag, body = len(opening[1]), opening[2].strip(" \t"), []
            continue
        closing = _CLOSING.fullmatch(line)
        if closing and len(closing[1]) >= ticks:
            fences.append(Fence(tag, "\n".join(body) + "\n" if body else "", True))
            ticks = 0
        else:
            body.append(line)
    if ticks:
        fences.append(Fence(tag, "\n".join(body), False))
    return fences


def _matches(fence: Fence, tags: tuple[str, ...]) -> bool:
    return fence.closed and fence.tag.lower() in ("", *tags)
