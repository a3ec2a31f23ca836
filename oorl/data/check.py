"""``oorl data check``: every row of a file looked at, and IR groups run again where that is asked for."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing

from tqdm import tqdm

from oorl.data.group_checks import SCHEMA, Seen, completeness, structure
from oorl.data.problems import problem_from_json, shown
from oorl.data.rows import parse_rows, read_rows
from oorl.errors import UserError
from oorl.reward.languages import LANGUAGES  # those that prompts can name
from oorl.reward.task_faults import task_fault

_SHOWN = 20  # faulty rows printed one by one


def check_file(path: str, against: Iterable[str] = (), reverify: bool = False, jobs: int | None = None) -> int:
    """Print what is wrong with each row and what was kept; 1 when a row was refused or a group does not reproduce.

    Args:
        path: rows of either schema.
        against: files of groups that must share no program across splits, and no text, with this one.
        reverify: run every group whose structure is sound again.
        jobs: worker processes of that.
    """
    refused: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    sound: set[int] = set()
    seen = _seen_in(against)
    for number, row, fault in tqdm(checked_rows(path, seen), unit="row", desc="rows", file=sys.stderr):
        if fault is None:
            kept.update(_kinds(row))
            if _is_group(row):
                sound.add(number)
            continue
        refused[fault.split(":")[0]] += 1
        if refused.total() <= _SHOWN:
            tqdm.write(f"{path}:{number}: {fault}")
    rows = kept["rows"] + refused.total()
    if not rows:
        raise UserError(f"{path}: holds no rows; make some with `oorl data generate --count N --out {path}`")
    if refused.total() > _SHOWN:
        print(f"... and {refused.total() - _SHOWN} more")
    for name, count in sorted(kept.items()):
        if name != "rows":
            print(f"  {name}: {count}")
    print(f"{rows} rows, {kept['rows']} kept, {refused.total()} refused" + reasons(refused))
    if reverify and not sound:
        raise UserError(f"{path}: no sound IR group stands there to run again; leave --reverify out")
    reproduced = not reverify or _reproduce(path, sound, jobs)
    return 0 if reproduced and not refused else 1


def checked_rows(path: str, seen: Seen) -> Iterator[tuple[int, dict, str | None]]:
    """Every row with its number and why it cannot be used (``field: reason``; of a group ``Kind: field: reason``)."""
    for number, row in parse_rows(path):
        if isinstance(row, str):
            yield number, {}, f"ParseError: {row}"
            continue
        fault = _group_fault(row, seen) if _is_group(row) else _problem_fault(row, seen)
        if fault is None and _is_group(row):
            seen.add(row, f"line {number}")
        elif fault is None:
            seen.ids[row["task_id"]] = f"line {number}"
        yield number, row, fault


def reasons(counts: Counter[str]) -> str:
    """``: reason (3), other (1)``, or nothing."""
    return ": " + ", ".join(f"{reason} ({count})" for reason, count in counts.most_common()) if counts else ""


def _is_group(row: dict) -> bool:
    return str(row.get("schema")).startswith(SCHEMA.split("/")[0])


def _group_fault(row: dict, seen: Seen) -> str | None:
    try:
        structure(row)
        completeness(row)
    except ValueError as err:
        return str(err)
    return seen.fault(row)


def _problem_fault(row: dict, seen: Seen) -> str | None:
    try:
        problem = problem_from_json(row)
    except ValueError as err:
        return str(err)
    if reason := task_fault(problem):
        return reason
    if problem.source_lang not in LANGUAGES:
        return f"source_lang: {shown(problem.source_lang)} is not one of {', '.join(LANGUAGES)}"
    if place := seen.ids.get(problem.task_id):
        return f"task_id: {problem.task_id!r} stands on {place} too; make it unique"
    return None


def _kinds(row: dict) -> list[str]:
    """What a kept row is counted as."""
    if not _is_group(row):
        return ["rows", f"{row['source_lang']} -> {row['target_lang']}"]
    source = row["source"]
    return [
        "rows", "IR groups", f"language {source['language']}", f"licence {source['licence']}", f"split {row['split']}"
    ]  # fmt: skip


def _seen_in(paths: Iterable[str]) -> Seen:
    """Programs and texts of the groups in other files; ids may stand in both."""
    seen = Seen()
    for path in paths:
        for number, row in tqdm(read_rows(path), unit="row", desc=f"against {path}", file=sys.stderr):
            try:
                structure(row)
            except ValueError as err:
                raise UserError(f"{path}:{number}: {err}") from err
            seen.add(row, f"{path}:{number}")
    seen.ids.clear()
    return seen


def _reproduce(path: str, sound: set[int], jobs: int | None) -> bool:
    """Run the groups of these lines again, and name those that do not come out as they are stored."""
    from oorl.ir.reverify_worker import reverify_rows

    faults: Counter[str] = Counter()
    members = 0
    rows = (row for number, row in parse_rows(path) if number in sound)
    with (
        closing(reverify_rows(rows, jobs)) as verdicts,
        tqdm(total=len(sound), unit="group", desc="reverify", file=sys.stderr) as bar,
    ):
        for row, fault in verdicts:
            members += len(row["winners"]) + len(row["losers"])
            bar.update()
            if fault:
                faults[fault.split(":")[0]] += 1
                tqdm.write(f"{row['group_id']}: {fault}")
    print(f"{len(sound) - faults.total()} of {len(sound)} groups ({members} members) reproduce" + reasons(faults))
    return not faults
