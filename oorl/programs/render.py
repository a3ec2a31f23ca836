"""Source text of a program in any language."""

from __future__ import annotations

from oorl.errors import UserError
from oorl.programs.nodes import Program
from oorl.programs.render_base import Renderer
from oorl.programs.render_bash import BashRenderer
from oorl.programs.render_c import CRenderer
from oorl.programs.render_cpp import CppRenderer
from oorl.programs.render_java import JavaRenderer
from oorl.programs.render_javascript import JavascriptRenderer
from oorl.programs.render_php import PhpRenderer
from oorl.programs.render_python import PythonRenderer
from oorl.programs.transliterate import CONSTRUCTS, FAITHFUL, Style

_RENDERERS: dict[str, type[Renderer]] = {
    renderer.language: renderer
    for renderer in (
        PythonRenderer,
        CppRenderer,
        CRenderer,
        JavaRenderer,
        PhpRenderer,
        BashRenderer,
        JavascriptRenderer,
    )
}


def supports(program: Program, language: str) -> str | None:
    """Why ``language`` cannot hold ``program``, or None when it can.

    Raises:
        UserError: the language is none of ours.
    """
    return _renderer(language).unsupported(program)


def render(program: Program, language: str, style: Style = FAITHFUL) -> str:
    """The program's functions as source text in ``language``, without a main.

    Raises:
        UserError: the language is none of ours or cannot hold the program (ask ``supports`` first).
    """
    return _checked(program, language)(program, style).render()


def declaration(program: Program, language: str) -> str:
    """The head of the entry function; ``render``'s text of that function begins with it.

    Raises:
        UserError: as ``render``.
    """
    return _checked(program, language)(program, FAITHFUL).declaration()


def transliterate(program: Program, source: str, target: str) -> str:
    """The program in ``target`` as a careless programmer carries ``source``'s operators over: spelling before meaning.

    Raises:
        UserError: as ``render``.
    """
    _renderer(source)
    return render(program, target, Style(frozenset(CONSTRUCTS), source))


def _renderer(language: str) -> type[Renderer]:
    if language not in _RENDERERS:
        raise UserError(f"{language!r} is not a language programs are rendered in; choose from {', '.join(_RENDERERS)}")
    return _RENDERERS[language]


def _checked(program: Program, language: str) -> type[Renderer]:
    renderer = _renderer(language)
    reason = renderer.unsupported(program)
    if reason:
        raise UserError(
            f"program {program.seed}: {reason}; choose another target language or a configuration without that type"
        )
    return renderer
