"""Reference scores written into a file of IR groups, so that a run which starts from the same model scores nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from oorl.data.ir_groups import IRGroup, stream_ir_groups, write_ir_groups
from oorl.errors import UserError
from oorl.policy.length_budget import LengthBudget
from oorl.policy.model import Policy, load_policy, load_tokenizer, shard
from oorl.policy.preference import PreferenceGroup, preference_group
from oorl.policy.prompts import Prompter
from oorl.policy.scoring import Budget
from oorl.training.mesh import World
from oorl.training.reference import GROUPS_AT_ONCE, ScoreJournal, reference_key, score_missing, stored_scores
from oorl.training.setup import check_vocabulary, position_limit


@dataclass
class ScoredFile:
    """What became of a file's members; those without a score are longer than the budget, or of a group that is."""

    key: str
    length: LengthBudget
    members: int = 0
    with_score: int = 0
    computed: int = 0  # of those, run through the model now; the others had their scores before

    def __str__(self) -> str:
        text = f"{self.with_score} of {self.members} members have a score under {self.key}, {self.computed} of them new"
        return f"{text}\n{self.length}" if self.length.dropped_anything else text


def journal_of(out: str | Path) -> Path:
    """Where scores stand until ``out`` is whole."""
    return Path(f"{out}.scores.incomplete")


def score_file(
    path: str | Path,
    model_dir: str | Path,
    out: str | Path,
    world: World,
    *,
    template: str = "auto",
    length_normalize: bool = False,
    max_tokens: int,
) -> ScoredFile:
    """Write the groups of ``path`` to ``out`` (which may be the same) with every member's score under a model.

    Scores of other models stay; those of this model are taken over where the tokens are the same, and what no longer
    fits goes. An interrupted call leaves a journal beside ``out``, from which the next one goes on.

    Raises:
        UserError: the file holds no groups, the model cannot be loaded or scores nothing finite, the disk is full.
    """
    next(stream_ir_groups(path))  # a missing or empty file is told before a model is loaded
    prompter = Prompter(load_tokenizer(model_dir), template)
    policy = load_policy(model_dir)
    if world.mesh is not None:
        policy = shard(policy, world.mesh)
    check_vocabulary(policy, prompter, model_dir)
    key = reference_key(Path(model_dir), prompter, length_normalize=length_normalize, device=policy.device)
    found = ScoredFile(key, LengthBudget(max_tokens))
    with ScoreJournal(journal_of(out) if world.is_main else None, key, world) as journal:
        records = _scored(path, policy, prompter, journal, found, world, length_normalize)
        if world.is_main:
            write_ir_groups(out, records)
            journal_of(out).unlink(missing_ok=True)
        else:
            for _ in records:  # its share of the scoring
                pass
    return found


def _scored(
    path: str | Path,
    policy: Policy,
    prompter: Prompter,
    journal: ScoreJournal,
    found: ScoredFile,
    world: World,
    length_normalize: bool,
) -> Iterator[IRGroup]:
    records = stream_ir_groups(path)
    with tqdm(desc="reference scores", unit="group", file=sys.stderr, disable=not world.is_main) as bar:
        while chunk := list(islice(records, GROUPS_AT_ONCE * world.size)):
            groups = [preference_group(record, prompter) for record in chunk]
            kept = [group for whole in groups if (group := found.length.keep(whole)) is not None]
            _check_positions(policy, kept, path)
            for record in chunk:
                journal.scores |= stored_scores(record, journal.key)
            found.computed += score_missing(policy, kept, journal, Budget(), world, length_normalize=length_normalize)
            for record, group in zip(chunk, groups, strict=True):
                entries = _entries(record, group, journal)
                found.members += len(group.members)
                found.with_score += len(entries)
                others = {key: scores for key, scores in record.ref_scores.items() if key != journal.key}
                yield replace(record, ref_scores=others | ({journal.key: entries} if entries else {}))
                bar.update()


def _entries(record: IRGroup, group: PreferenceGroup, journal: ScoreJournal) -> dict[str, dict]:
    names = [member["id"] for member in (*record.winners, *record.losers)]
    return {
        name: {"score": journal.scores[digest], "tokens": digest}
        for name, digest in zip(names, group.digests, strict=True)
        if digest in journal.scores
    }


def _check_positions(policy: Policy, groups: list[PreferenceGroup], path: str | Path) -> None:
    limit = position_limit(policy)
    for group in groups:
        if group.longest > limit:
            raise UserError(
                f"{path}: group {group.group_id} has a member of {group.longest} tokens with its prompt, but the model "
                f"has {limit} positions; lower --max-tokens"
            )
