"""Random typed programs, the same in every language: sources, unit tests, wrong translations that look right."""

from oorl.programs.canonical import canonical
from oorl.programs.config import DEFAULT, IR, TINY, GeneratorConfig
from oorl.programs.generate import generate_program
from oorl.programs.interpret import Undefined, evaluate
from oorl.programs.nodes import Program
from oorl.programs.problems import make_problem, make_tests
from oorl.programs.render import declaration, render, supports, transliterate
from oorl.programs.transliterate import CONSTRUCTS, FAITHFUL, LANGUAGES, Style, divergences

__all__ = [
    "CONSTRUCTS", "DEFAULT", "FAITHFUL", "IR", "LANGUAGES", "TINY", "GeneratorConfig", "Program", "Style",
    "Undefined", "canonical", "declaration", "divergences", "evaluate", "generate_program", "make_problem",
    "make_tests", "render", "supports", "transliterate",
]  # fmt: skip
