"""Skeletons over matrices, row by row in one buffer."""

from __future__ import annotations

from dataclasses import dataclass

from oorl.ir.generator import words
from oorl.ir.generator.function import Array, Function, Lines, braced
from oorl.ir.generator.kinds import INT, binary, promoted
from oorl.ir.generator.loops import ascending
from oorl.ir.generator.positions import exchange
from oorl.ir.generator.scope import Place
from oorl.ir.generator.statements import accumulator, assignment, change, conditional, turn, update


@dataclass(frozen=True)
class Matrix:
    """A buffer of rows * cols elements; ``rows`` is ``cols`` where it is square."""

    cells: Array
    rows: str
    cols: str

    def at(self, row: str, col: str) -> Place:
        return self.cells.at(f"{row} * {self.cols} + {col}")


def _loops(
    f: Function, m: Matrix, body: Lines, i: str, j: str, start: str = "0", between: Lines = (), after: Lines = ()
) -> Lines:
    inner = braced(ascending(j, m.cols, start), body)
    return braced(ascending(i, m.rows), [*between, *inner, *after])


def _indices(f: Function) -> tuple[str, str]:
    return f.scope.name(("i", "row", "y", "r")), f.scope.name(("j", "col", "x", "c"))


def _index_places(i: str, j: str) -> tuple[Place, Place]:
    return Place(i, INT, 0, 4, i, weight=0.7), Place(j, INT, 0, 4, j, weight=0.7)


def fold_cells(f: Function, m: Matrix) -> Lines:
    """Accumulate over all cells, with their places."""
    with f.scope.inner(m.cells.at("0")):
        total, line = accumulator(f)
    f.scope.add(total)
    i, j = _indices(f)
    with f.scope.inner(m.at(i, j), *_index_places(i, j)):
        body = turn(f, [total], skips=True)
    return [line, *_loops(f, m, body, i, j)]


def change_cells(f: Function, m: Matrix) -> Lines:
    """New values for cells, depending on their places."""
    i, j = _indices(f)
    cell = m.at(i, j)
    with f.scope.inner(cell, *_index_places(i, j)):
        step = assignment(f, cell)
        step = conditional(f, step) if f.chance(0.6) else step
    return _loops(f, m, step, i, j)


def rows_out(f: Function, m: Matrix) -> Lines:
    """A number for every row, in an output buffer."""
    kind = promoted(m.cells.kind)
    out = f.output(m.rows, kind)
    i, j = _indices(f)
    row, col = _index_places(i, j)
    with f.scope.inner(row):
        total, line = accumulator(f, kind, ("sum", "row_total", "s", "best"))
        f.scope.add(col, m.at(i, j))
        body = change(f, total)
        f.scope.settle(total)
    return _loops(f, m, body, i, j, between=[line], after=[f"{out.name}[{i}] = {total.text};"])


def best_row(f: Function, m: Matrix) -> Lines:
    """The row with the greatest total of something."""
    best, top = f.scope.declare(words.BESTS, INT, 0, 4, sure=True), f.scope.name(("most", "limit", "record"))
    i, j = _indices(f)
    row, col = _index_places(i, j)
    with f.scope.inner(row), f.scope.hidden(best.root):
        total, line = accumulator(f, promoted(m.cells.kind), ("sum", "row_total", "s"))
        f.scope.add(col, m.at(i, j))
        body = change(f, total)
        f.scope.settle(total)
    keep = braced(
        f"if ({i} == 0 || {total.text} {f.rng.choice('<>')} {top})", [f"{top} = {total.text};", f"{best.text} = {i};"]
    )
    start = "0.0" if total.kind.is_float else "0"
    return [
        f"int {best.text} = 0;",
        f"{total.kind.name} {top} = {start};",
        *_loops(f, m, body, i, j, between=[line], after=keep),
    ]


def across(f: Function, m: Matrix) -> Lines:
    """A square matrix and its diagonal: mirrored, compared, or added up."""
    i, j = _indices(f)
    one, other = m.at(i, j), m.at(j, i)
    f.scope.unread.discard(m.cells.name)
    start = f"{i} + 1"
    if m.cells.writable:
        with f.scope.inner(one, other):
            swap = exchange(f, m.cells.kind, one, other)
            body = conditional(f, swap) if f.chance(0.6) else swap
        return _loops(f, m, body, i, j, start)
    total, line = accumulator(f, f.rng.choice((INT, promoted(m.cells.kind))))
    with f.scope.inner(one, other):
        step = update(f, total, 1) if f.chance(0.6) else [f"{total.text}++;"]
    return [
        line,
        *_loops(f, m, braced(f"if ({one.text} {f.rng.choice(('!=', '<', '=='))} {other.text})", step), i, j, start),
    ]


def diagonal(f: Function, m: Matrix) -> Lines:
    """Something of the diagonals of a square matrix."""
    total, line = accumulator(f, promoted(m.cells.kind))
    i = f.scope.name(words.COUNTERS)
    cells = (m.cells.at(f"{i} * {m.cols} + {i}"), m.cells.at(f"{i} * {m.cols} + {m.cols} - 1 - {i}"))
    with f.scope.inner(*cells, Place(i, INT, 0, 4, i, weight=0.5)):
        body = [*change(f, total), *(change(f, total, 1) if f.chance(0.4) else [])]
    return [line, *braced(ascending(i, m.cols), body)]


def around(f: Function, m: Matrix) -> Lines:
    """Cells and their neighbours below or to the right."""
    total, line = accumulator(f, f.rng.choice((INT, promoted(m.cells.kind))))
    i, j = _indices(f)
    here, right = m.at(i, j), m.cells.at(f"{i} * {m.cols} + {j} + 1")
    f.scope.unread.discard(m.cells.name)
    with f.scope.inner(here, right):
        step = change(f, total, 1)
    test = f"{j} + 1 < {m.cols}" + (
        f" && {binary(f.rng.choice(('!=', '<', '>')), here.term, right.term).text}" if f.chance(0.5) else ""
    )
    return [line, *_loops(f, m, braced(f"if ({test})", step), i, j)]


READERS = ((fold_cells, 8), (rows_out, 6), (best_row, 5), (around, 4))
WRITERS = ((change_cells, 8),)
SQUARE_READERS = ((across, 5), (diagonal, 5))
SQUARE_WRITERS = ((across, 6),)
