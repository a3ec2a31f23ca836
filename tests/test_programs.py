"""The program generator: determinism, bounds, identity, divergences, tests (agreement: test_programs_agree)."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oorl.data.problems import problem_from_json, validate_tests
from oorl.errors import UsageError, UserError
from oorl.programs import (
    CONSTRUCTS,
    DEFAULT,
    FAITHFUL,
    IR,
    LANGUAGES,
    TINY,
    GeneratorConfig,
    Program,
    Style,
    Undefined,
    canonical,
    declaration,
    divergences,
    evaluate,
    generate_program,
    make_problem,
    make_tests,
    render,
    supports,
    transliterate,
)
from oorl.programs import nodes as n
from oorl.programs.check import sample_args
from oorl.programs.interpret import BOUND

CPP_TINY = dataclasses.replace(TINY, dialect="cpp")
CONFIGS = {"tiny": TINY, "tiny cpp": CPP_TINY, "default": DEFAULT, "ir": IR}


@pytest.fixture(scope="module")
def programs() -> dict[str, list[Program]]:
    return {name: [generate_program(seed, config) for seed in range(15)] for name, config in CONFIGS.items()}


A, B, C = (n.Var(name, n.INT) for name in "abc")
XS, S = n.Var("xs", n.INTS), n.Var("s", n.STR)


def lit(value: int) -> n.Literal:
    return n.Literal(value, n.INT)


def returning(value: n.Expr, *params: n.Var) -> Program:
    return Program((n.Function("f", params, value.type, (n.Return(value),)),))


def test_the_same_seed_gives_the_same_program_in_another_process():
    code = (
        "from oorl.programs import *\nfor s in range(4): print(render(generate_program(s, DEFAULT), 'python'), end='')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "".join(render(generate_program(seed, DEFAULT), "python") for seed in range(4))


def test_every_program_obeys_its_configuration(programs):
    for name, drawn in programs.items():
        config = CONFIGS[name]
        for program in drawn:
            assert config.params[0] <= len(program.signature.params) <= config.params[1]
            assert config.nodes[0] <= sum(isinstance(node, n.Expr) for node in n.walk(program)) <= config.nodes[1]
            if config.dialect == "python":
                assert all(node.mode == "floor" for node in n.walk(program) if isinstance(node, (n.Div, n.Mod)))
            if config.dialect == "cpp":
                assert all(node.mode == "trunc" for node in n.walk(program) if isinstance(node, (n.Div, n.Mod)))
            assert name != "ir" or supports(program, "c") is None


def test_every_parameter_is_read_and_the_result_varies(programs):
    for program in (program for drawn in programs.values() for program in drawn):
        read = {node.name for node in n.walk(program.functions[-1]) if isinstance(node, n.Var)}
        read |= {node.items.name for node in n.walk(program) if isinstance(node, n.ForEach)}
        assert {name for name, _ in program.signature.params} <= read
        assert len({repr(test["returns"]) for test in make_tests(program, 0, 24)}) > 1


def test_every_value_on_the_way_stays_in_bounds(programs):
    """By a second evaluation: the Python rendering with every assigned and returned value looked at."""
    for program in (program for drawn in programs.values() for program in drawn):
        scope: dict = {}
        exec(render(program, "python"), scope)  # noqa: S102 - our own text
        for test in make_tests(program, 1, 6):
            seen: list = []

            def watch(frame, event, value, seen=seen):
                seen += [*frame.f_locals.values(), value]
                return watch

            sys.settrace(watch)
            try:
                scope["f"](*(list(arg) if isinstance(arg, list) else arg for arg in test["args"]))
            finally:
                sys.settrace(None)
            assert all(abs(value) < BOUND for value in seen if isinstance(value, (int, float)))


@pytest.mark.parametrize(
    ("value", "args", "why"),
    [
        (n.Arith("*", A, n.Arith("*", A, A)), [2000], "out of bounds"),
        (n.Div("floor", A, B), [1, 0], "division by zero"),
        (n.Mod("trunc", A, B), [1, 0], "division by zero"),
        (n.Index(XS, A), [[1, 2], 2], "position 2 of 2"),
        (n.Index(XS, A), [[1, 2], -1], "position -1 of 2"),
    ],
)
def test_what_languages_do_not_agree_on_is_undefined(value, args, why):
    params = [node for node in (XS, A, B) if node in set(n.walk(value))]
    with pytest.raises(Undefined, match=why):
        evaluate(returning(value, *params), args)


def test_an_endless_loop_is_undefined():
    loop = n.While(n.Compare("==", A, A), (n.Assign("a", "+", lit(0)),))
    with pytest.raises(Undefined, match="too many steps"):
        evaluate(Program((n.Function("f", (A,), n.INT, (loop, n.Return(A))),)), [1])


@pytest.mark.parametrize("a", range(-9, 10))
@pytest.mark.parametrize("b", [-4, -1, 1, 3])
def test_division_and_modulo_against_python(a, b):
    assert evaluate(returning(n.Div("floor", A, B), A, B), [a, b]) == a // b
    assert evaluate(returning(n.Mod("floor", A, B), A, B), [a, b]) == a % b
    truncated = int(a / b)
    assert evaluate(returning(n.Div("trunc", A, B), A, B), [a, b]) == truncated
    assert evaluate(returning(n.Mod("trunc", A, B), A, B), [a, b]) == a - truncated * b


FLOOR_DIV, TRUNC_DIV = n.Div("floor", A, lit(3)), n.Div("trunc", A, lit(3))
FLOOR_MOD, TRUNC_MOD = n.Mod("floor", A, lit(3)), n.Mod("trunc", A, lit(3))


@pytest.mark.parametrize(
    ("value", "language", "text"),
    [
        (FLOOR_DIV, "python", "a // 3"),
        (FLOOR_DIV, "cpp", "a / 3 - (a % 3 < 0)"),
        (FLOOR_DIV, "java", "Math.floorDiv(a, 3)"),
        (FLOOR_DIV, "php", "(int) floor($a / 3)"),
        (FLOOR_DIV, "javascript", "Math.floor(a / 3)"),
        (FLOOR_DIV, "bash", "a / 3 - (a % 3 < 0)"),
        (TRUNC_DIV, "python", "int(a / 3)"),
        (TRUNC_DIV, "cpp", "a / 3"),
        (TRUNC_DIV, "php", "intdiv($a, 3)"),
        (TRUNC_DIV, "javascript", "Math.trunc(a / 3)"),
        (FLOOR_MOD, "python", "a % 3"),
        (FLOOR_MOD, "cpp", "(a % 3 + 3) % 3"),
        (FLOOR_MOD, "java", "Math.floorMod(a, 3)"),
        (TRUNC_MOD, "python", "a - int(a / 3) * 3"),
        (TRUNC_MOD, "javascript", "a % 3"),
        (n.Power(A, 2), "cpp", "a * a"),
        (n.ValueLogic("or", A, B), "php", "$a ?: $b"),
        (n.ValueLogic("or", A, B), "java", "a != 0 ? a : b"),
        (n.LogicInt("or", A, B), "python", "int(bool(a or b))"),
        (n.Arith("-", A, n.Arith("-", A, B)), "python", "a - (a - b)"),
        (n.Neg(lit(-3)), "javascript", "-(-3)"),
    ],
)
def test_short_faithful_idioms(value, language, text):
    assert text in render(returning(value, A, B), language)


@pytest.mark.parametrize(
    ("value", "source", "target", "text", "name"),
    [
        (FLOOR_DIV, "python", "cpp", "a / 3", "floor_div"),
        (FLOOR_DIV, "python", "javascript", "a / 3", "floor_div"),
        (FLOOR_DIV, "python", "php", "intdiv($a, 3)", "floor_div"),
        (TRUNC_DIV, "cpp", "python", "a // 3", "floor_div"),
        (TRUNC_DIV, "cpp", "javascript", "a / 3", "int_float_div"),
        (TRUNC_DIV, "cpp", "php", "$a / 3", "int_float_div"),
        (TRUNC_MOD, "cpp", "python", "a % 3", "mod_sign"),
        (n.FloatDiv(A, lit(2)), "python", "cpp", "a / 2;", "int_float_div"),
        (n.Power(A, 2), "python", "java", "(a ^ 2)", "power"),
        (n.Chain("<", "<", A, B, lit(5)), "python", "javascript", "a < b < 5", "chained_compare"),
        (n.ValueLogic("or", A, B), "python", "cpp", "a || b", "value_logic"),
        (n.LogicInt("and", A, B), "cpp", "python", "a and b", "value_logic"),
        (n.Truth(XS), "python", "javascript", "return xs;", "truth_value"),
        (n.Truth(S), "python", "php", "return $s;", "truth_value"),
    ],
)
def test_transliterations_carry_the_operator_over(value, source, target, text, name):
    program = returning(value, *dict.fromkeys(node for node in n.walk(value) if isinstance(node, n.Var)))
    assert divergences(program, source, target) == {name}
    wrong = transliterate(program, source, target)
    assert text in wrong
    assert wrong != render(program, target)
    assert render(program, target, Style(frozenset(CONSTRUCTS) - {name}, source)) == render(program, target)


@pytest.mark.parametrize("target", ["cpp", "java", "php", "bash", "javascript"])
def test_an_exclusive_range_becomes_inclusive(target):
    body = (
        n.Declare("c", n.INT, lit(0)),
        n.ForRange("i", lit(1), A, False, (n.Assign("c", "+", n.Var("i", n.INT)),)),
        n.Return(C),
    )
    program = Program((n.Function("f", (A,), n.INT, body),))
    assert divergences(program, "python", target) == {"inclusive_range"}
    assert "<=" in transliterate(program, "python", target) and "<=" not in render(program, target)
    assert evaluate(program, [4]) == 6
    assert evaluate(program, [4], naive=frozenset({"inclusive_range"})) == 10


def test_a_style_mixes_right_and_wrong_constructs():
    program = returning(n.Arith("+", FLOOR_DIV, FLOOR_MOD), A)
    mixed = render(program, "cpp", Style(frozenset({"floor_div"}), "python"))
    assert "a / 3 + (a % 3 + 3) % 3" in mixed
    assert render(program, "cpp", FAITHFUL) != mixed != transliterate(program, "python", "cpp")


def test_no_divergence_means_an_equal_text(programs):
    for program in (program for drawn in programs.values() for program in drawn):
        for target in LANGUAGES:
            if supports(program, target) is None:
                for source in ("python", "cpp"):
                    equal = transliterate(program, source, target) == render(program, target)
                    assert equal == (not divergences(program, source, target))


def test_each_divergence_shows_in_the_tests(programs):
    shown = total = 0
    for program in programs["tiny"] + programs["tiny cpp"]:
        source = "python" if program in programs["tiny"] else "cpp"
        tests = make_tests(program, 0, 8)
        for target in LANGUAGES:
            for name in divergences(program, source, target):
                total += 1
                shown += any(misread(program, test["args"], name) != repr(test["returns"]) for test in tests)
    assert shown == total > 50


def misread(program: Program, args: list, name: str) -> str | None:
    try:
        return repr(evaluate(program, args, naive=frozenset({name})))
    except Undefined:
        return None


def test_tiny_is_small_various_and_mostly_divergent():
    drawn = [generate_program(seed, TINY) for seed in range(150)]
    assert len({canonical(program) for program in drawn}) >= 130
    for target in ("cpp", "java", "php", "bash", "javascript"):
        counts = [len(divergences(program, "python", target)) for program in drawn]
        assert sum(1 <= count <= 2 for count in counts) >= 0.85 * len(counts)
        assert sum(len(render(program, target)) for program in drawn) / len(drawn) < 160


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 40), salt=st.integers())
def test_the_canonical_form_ignores_names_and_the_order_of_operands(seed, salt):
    program = generate_program(seed, TINY)
    rng = random.Random(salt)
    names = {node.name for node in n.walk(program) if isinstance(node, (n.Var, n.Declare, n.Function))}
    names |= {node.var for node in n.walk(program) if isinstance(node, (n.ForRange, n.ForEach))}
    fresh = [f"name{index}" for index in range(len(names))]
    rng.shuffle(fresh)
    other = mirrored(n.rename(program, dict(zip(sorted(names), fresh, strict=True))), rng)
    assert canonical(other) == canonical(program)
    for _ in range(3):
        args = sample_args(program, rng)
        assert outcome(other, args) == outcome(program, args)


def outcome(program: Program, args: list) -> str:
    try:
        return repr(evaluate(program, args))
    except Undefined:
        return "undefined"


def mirrored(node: n.Node, rng: random.Random) -> n.Node:
    """The same tree with operands swapped here and there where that changes nothing."""
    changes = {
        field.name: tuple(mirrored(item, rng) for item in value) if isinstance(value, tuple) else mirrored(value, rng)
        for field in dataclasses.fields(node)
        if isinstance(value := getattr(node, field.name), (*n.NODE_TYPES, tuple))
    }
    node = dataclasses.replace(node, **changes)
    opposite = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
    if isinstance(node, n.Arith) and node.op in "+*" or isinstance(node, n.MinMax):
        return dataclasses.replace(node, left=node.right, right=node.left) if rng.random() < 0.5 else node
    if isinstance(node, n.Compare) and rng.random() < 0.5:
        return dataclasses.replace(node, op=opposite.get(node.op, node.op), left=node.right, right=node.left)
    return node


def test_the_canonical_form_tells_programs_apart():
    forms = [
        canonical(returning(value, A, B)) for value in (FLOOR_DIV, TRUNC_DIV, n.Arith("-", A, B), n.Arith("-", B, A))
    ]
    assert len(set(forms)) == len(forms)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_declaration_opens_the_entry_function(language, programs):
    for program in (program for drawn in programs.values() for program in drawn):
        if supports(program, language) is None:
            assert declaration(program, language) in render(program, language)


def test_a_program_outside_a_language_is_refused():
    program = returning(n.FloatDiv(A, lit(2)), A)
    assert supports(program, "bash") == "bash has no float here"
    with pytest.raises(UserError, match="program -1: bash has no float here"):
        render(program, "bash")
    with pytest.raises(UserError, match="'rust' is not a language"):
        render(program, "rust")


def test_impossible_configurations_name_the_field():
    with pytest.raises(UsageError, match="GeneratorConfig.params: 3 is above 1"):
        GeneratorConfig(params=(3, 1))
    with pytest.raises(UsageError, match="GeneratorConfig.dialect: 'perl'"):
        GeneratorConfig(dialect="perl")
    with pytest.raises(UserError, match="no program for seed 0"):
        generate_program(0, dataclasses.replace(TINY, nodes=(500, 600)))


def test_problems_are_valid_records(programs):
    for program in programs["tiny"]:
        problem = make_problem(program, "python", "cpp", task_id="t", seed=3, tests=8, split="test")
        assert validate_tests(problem) is None
        assert len(problem.tests) == 8 and problem.origin["split"] == "test"
        assert problem_from_json(problem.to_json()) == problem
        arguments = [repr(test["args"]) for test in problem.tests]
        assert len(set(arguments)) == len(arguments)


def test_tests_are_the_reference_values_and_repeat(programs):
    for program in programs["default"]:
        tests = make_tests(program, 5, 10)
        assert tests == make_tests(program, 5, 10)
        assert all(evaluate(program, test["args"]) == test["returns"] for test in tests)
