"""The format rule: which completions hold a program, and which text is the program."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oorl.reward.extract import extract_code, find_fences
from oorl.reward.languages import LANGUAGES

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines differ
ONE = "```python\nx = 1\n```"


@pytest.mark.parametrize(
    "completion",
    [
        ONE,
        "```\nx = 1\n```\n",
        "Here it is:\n\n```py\nx = 1\n```\nIt sets x.",
        "<think>should I write ```cpp\nint x;\n``` ?</think>\n" + ONE,
        "\n <think>\n</think>" + ONE,
        "```Python  \nx = 1\n```  ",
        "```python\r\nx = 1\r\n```\r\n",
        "````python\nx = 1\n````",
        "~~~\nno fence\n~~~\n" + ONE,
        "use `x` or ```x``` inline\n" + ONE,
    ],
)
def test_train_takes_the_only_fence(completion: str) -> None:
    assert extract_code(completion, "python", "train") == "x = 1\n"


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "x = 1",
        "```python\nx = 1\n",
        "```python\nx = 1```",
        "```cpp\nint x;\n```",
        "```python main.py\nx = 1\n```",
        ONE + "\n" + ONE,
        ONE + "\n```cpp\nint x;\n```",
        ONE + "\n```",
        "~~~python\nx = 1\n~~~",
        "text <think>later</think>\n```python\nx = 1\n```\n```",
        "<think>never closed\n" + ONE + "\n" + ONE,
        "    ```python\n    x = 1\n    ```",
        "```python\nx = 1\n``` end",
    ],
)
def test_train_refuses_anything_else(completion: str) -> None:
    assert extract_code(completion, "python", "train") is None


def test_only_one_leading_think_block_is_set_aside() -> None:
    inside = "<think>```python\ny\n```</think>"
    assert extract_code(inside + ONE, "python", "train") == "x = 1\n"
    assert extract_code(inside + inside + ONE, "python", "train") is None
    assert extract_code("First. " + inside + ONE, "python", "train") is None


def test_backticks_inside_code_do_not_close_the_fence() -> None:
    body = "a = '```'\n  ```not a close\n"
    assert extract_code(f"```python\n{body}```", "python", "train") == body
    assert extract_code("````python\nd = '''\n```\n'''\n````", "python", "train") == "d = '''\n```\n'''\n"


def test_evaluate_takes_the_last_closed_matching_fence() -> None:
    text = f"```python\nfirst\n```\n{ONE}\n```cpp\nint x;\n```\n```python\nunclosed"
    assert extract_code(text, "python", "evaluate") == "x = 1\n"
    assert extract_code(text, "cpp", "evaluate") == "int x;\n"
    assert extract_code(text, "java", "evaluate") is None


def test_none_takes_everything() -> None:
    assert extract_code("no fence", "python", "none") == "no fence"


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(ValueError, match="rule 'other'"):
        extract_code(ONE, "python", "other")


def test_an_empty_block_is_an_empty_program() -> None:
    assert extract_code("```python\n```", "python", "train") == ""


@pytest.mark.parametrize("language_id", LANGUAGES)
def test_every_tag_of_a_language_matches_it_alone(language_id: str) -> None:
    for tag in LANGUAGES[language_id].fence_tags:
        for other in LANGUAGES:
            found = extract_code(f"```{tag}\ncode\n```", other, "train")
            assert found == ("code\n" if other == language_id else None)


CODE_LINES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n`"), max_size=20), max_size=6
)


@RELAXED
@given(CODE_LINES, CODE_LINES, st.sampled_from(["train", "evaluate"]))
def test_fenced_code_comes_back_whole(code: list[str], prose: list[str], rule: str) -> None:
    body = "".join(line + "\n" for line in code)
    before = "".join(line + "\n" for line in prose if "think" not in line)
    assert extract_code(f"{before}```java\n{body}```", "java", rule) == body


@RELAXED
@given(st.text(st.sampled_from("`~ \r\nab<think>/"), max_size=60))
def test_any_text_is_answered(text: str) -> None:
    for rule in ("train", "evaluate"):
        found = extract_code(text, "python", rule)
        assert found is None or "```" not in found or len(find_fences(text)) >= 1


def test_long_lines_of_blanks_are_read_in_linear_time() -> None:
    blanks = " " * 200_000
    assert extract_code(f"```python{blanks}x{blanks}\ny\n```\n", "python", "train") is None
    assert extract_code(f"```python{blanks}\ny\n```{blanks}", "python", "train") == "y\n"
