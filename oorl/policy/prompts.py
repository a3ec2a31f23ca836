"""What the model is asked and how it answers: prompts for translation and for IR, answers as one fenced block.

Prompt and response are tokenized apart and concatenated, so that a response's tokens never depend on where its
prompt ended; a response includes its final end token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase as Tokenizer

from oorl.data.ir_groups import IRGroup
from oorl.data.problems import Problem
from oorl.errors import UserError
from oorl.reward.languages import LANGUAGES, display_name, fence_tag

IR_TAG = "llvm"


@dataclass(frozen=True)
class Prompter:
    """Turns records into token ids for one tokenizer; ``template`` is auto, chat or plain."""

    tokenizer: Tokenizer
    template: str = "auto"

    def translation(self, problem: Problem) -> tuple[int, ...]:
        """Token ids of the prompt that asks for a problem's translation; UserError when a language has no name here."""
        for name in ("source_lang", "target_lang"):
            _check_language(f"task {problem.task_id}: {name}", getattr(problem, name))
        template = self._resolve(problem.prompt_template)
        return self._encode(translation_text(problem, template), template)

    def ir(self, group: IRGroup) -> tuple[int, ...]:
        """Token ids of the prompt that asks for the LLVM IR of a group's source; UserError as for ``translation``."""
        _check_language(f"group {group.group_id}: source.language", group.source["language"])
        template = self._resolve("auto")
        return self._encode(ir_text(group, template), template)

    def response(self, code: str, tag: str) -> tuple[int, ...]:
        """Token ids of ``code`` as an answer: one fenced block and the end token."""
        return self.responses([code], tag)[0]

    def responses(self, codes: Sequence[str], tag: str) -> list[tuple[int, ...]]:
        """``response`` of each of ``codes``, which the tokenizer takes faster together."""
        rows = self.tokenizer([fenced(code, tag) for code in codes], add_special_tokens=False).input_ids
        return [(*row, self.tokenizer.eos_token_id) for row in rows]

    def decode(self, response: tuple[int, ...]) -> str:
        """The text of a response, its special tokens left out."""
        return self.tokenizer.decode(list(response), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    @property
    def fingerprint(self) -> str:
        """sha256 over sample prompts and an answer and the vocabulary: follows tokenizer, template and wording."""
        source = {"code": "int f(int a) {\n  return a + 40;\n}", "language": "c", "entry": "f"}
        probe = IRGroup("probe", source, {}, {}, {}, "", (), ())
        program = replace(probe, signature={"mode": "stdin"})
        ids = (self.ir(probe), self.ir(program), self.response("define i32 @f(i32 %0) {\n  ret i32 %0\n}", IR_TAG))
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        return hashlib.sha256(repr((ids, vocabulary)).encode()).hexdigest()

    def _resolve(self, preferred: str) -> str:
        template = self.template if self.template != "auto" else preferred
        if template == "chat" and not self.tokenizer.chat_template:
            raise UserError("template 'chat': the tokenizer has no chat template; use 'plain', or 'auto', which looks")
        if template in ("chat", "plain"):
            return template
        return "chat" if self.tokenizer.chat_template else "plain"

    def _encode(self, text: str, template: str) -> tuple[int, ...]:
        if template == "plain":
            ids = self.tokenizer(text).input_ids  # with the model's own start token, where it has one
            return tuple(ids[:-1] if ids[-1] == self.tokenizer.eos_token_id else ids)
        messages = [{"role": "user", "content": text}]
        # Templates that know no thinking ignore the argument.
        chat = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, enable_thinking=False
        )
        return tuple(self.tokenizer(chat, add_special_tokens=False).input_ids)


def translation_text(problem: Problem, template: str) -> str:
    """The wording of a translation task; ``plain`` is terse, ``chat`` says everything.

    >>> problem = Problem("t", "python", "def f(a):\\n    return a", "cpp", "long long f(long long a)", "f", "call", ())
    >>> print(translation_text(problem, "plain"), end="")
    Translate Python to C++.
    ```python
    def f(a):
        return a
    ```
    Declaration: long long f(long long a)
    """
    source, target = display_name(problem.source_lang), display_name(problem.target_lang)
    block = fenced(problem.source_code, fence_tag(problem.source_lang))
    if template == "plain":
        declaration = f"Declaration: {problem.target_decl}\n" if problem.target_decl else ""
        return f"Translate {source} to {target}.\n{block}\n{declaration}"
    declaration = (
        f"\nUse this declaration:\n{fenced(problem.target_decl, fence_tag(problem.target_lang))}"
        if problem.target_decl
        else ""
    )
    if problem.mode == "call":
        shape = f"Write the function `{problem.entry}` and what it needs, without a main program."
    else:
        shape = "Write a whole program that reads standard input and writes standard output."
    return (
        f"Translate this {source} code to {target}, keeping its behaviour exactly.\n{block}{declaration}\n{shape} "
        f"It will run as {LANGUAGES[problem.target_lang].dialect}. "
        f"Answer with one fenced code block tagged `{fence_tag(problem.target_lang)}` and nothing else."
    )


def ir_text(group: IRGroup, template: str) -> str:
    """The wording of an IR task: the source, and a request for LLVM IR that does the same.

    A function is asked for by name, because its source may hold helpers; a program (mode stdin) is asked for whole.

    >>> source = {"language": "c", "code": "int f(int a) { return a + 1; }", "entry": "f"}
    >>> print(ir_text(IRGroup("g", source, {}, {}, {}, "numbered", (), ()), "plain"), end="")
    Compile C to LLVM IR.
    ```c
    int f(int a) { return a + 1; }
    ```
    """
    language, entry = group.source["language"], group.source["entry"]
    name, block = display_name(language), fenced(group.source["code"], fence_tag(language))
    program = group.signature.get("mode", "call") == "stdin"
    if template == "plain":
        return f"Compile {name} {'program ' if program else ''}to LLVM IR.\n{block}\n"
    if program:
        what = f"this {name} program, which reads standard input and writes standard output,"
        shape = "Give the whole module, with the declarations it needs."
    else:
        what = f"the function `{entry}` of this {name} code"
        shape = "Give this one definition, with the helpers it calls inlined, and the declarations it needs."
    return (
        f"Compile {what} to LLVM IR, keeping its behaviour exactly.\n{block}\n{shape} "
        f"Answer with one fenced code block tagged `{IR_TAG}` and nothing else."
    )


def fenced(code: str, tag: str) -> str:
    """``code`` in a fenced block; the fence is longer than any run of backticks inside."""
    fence = "```"
    while fence in code:
        fence += "`"
    return f"{fence}{tag}\n{code.rstrip(chr(10))}\n{fence}"


def _check_language(where: str, language: str) -> None:
    if language not in LANGUAGES:
        raise UserError(f"{where}: {language!r} is not one of {', '.join(LANGUAGES)}")
