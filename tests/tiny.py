"""A model directory, problems and IR groups small enough to train on in seconds."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from oorl.data.ir_groups import IRGroup, write_ir_groups
from oorl.data.problems import Problem, write_problems
from oorl.policy.model import build_tiny_qwen3
from oorl.types import Signature, Type


def byte_tokenizer(chat: bool = False) -> PreTrainedTokenizerFast:
    """256 bytes, a padding and an end token: nothing to train, everything representable."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "<eos>": 1} | {symbol: index for index, symbol in enumerate(alphabet, 2)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    if chat:
        fast.chat_template = (
            "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
            "{% if enable_thinking is defined and not enable_thinking %}<no_think>{% endif %}"
        )
    return fast


def tiny_model(seed: int = 0, hidden_size: int = 32, num_layers: int = 2, tied: bool = True) -> PreTrainedModel:
    return build_tiny_qwen3(
        258,
        hidden_size,
        num_layers,
        num_heads=2,
        num_kv_heads=1,
        tie_word_embeddings=tied,
        eos_token_id=1,
        pad_token_id=0,
        seed=seed,
    )


def save_tiny_model(directory: Path, seed: int = 0, **kwargs: object) -> Path:
    tiny_model(seed, **kwargs).save_pretrained(directory)
    byte_tokenizer().save_pretrained(directory)
    return directory


def tiny_problems(count: int = 6) -> list[Problem]:
    signature = Signature((("a", Type("int")),), Type("int"))
    return [
        Problem(
            task_id=f"add-{k}",
            source_lang="cpp",
            source_code=f"long long f(long long a) {{ return a + {k}; }}",
            target_lang="python",
            target_decl="def f(a):",
            entry="f",
            mode="call",
            tests=({"args": [1], "returns": 1 + k},),
            signature=signature,
        )
        for k in range(count)
    ]


def tiny_groups(count: int = 4) -> list[IRGroup]:
    def ir(operation: str, k: int) -> str:
        return f"define i32 @f(i32 %0) {{\n  %2 = {operation} i32 %0, {k}\n  ret i32 %2\n}}"

    return [
        IRGroup(
            group_id=f"group-{k}",
            source={"language": "c", "code": f"int f(int a) {{ return a + {k}; }}", "entry": "f"},
            signature={},
            inputs={},
            toolchain={},
            naming="n",
            winners=({"id": "w0", "ir": ir("add", k)}, {"id": "w1", "ir": ir("add nsw", k)}),
            losers=(
                {"id": "l0", "ir": ir("sub", k)},
                {"id": "l1", "ir": ir("mul", k)},
                {"id": "l2", "ir": ir("xor", k)},
            ),
        )
        for k in range(1, count + 1)
    ]


def write_tiny_data(directory: Path) -> tuple[Path, Path]:
    problems, groups = directory / "problems.jsonl", directory / "groups.jsonl"
    write_problems(problems, tiny_problems())
    write_ir_groups(groups, tiny_groups())
    return problems, groups


def random_trees(count: int = 5, seed: int = 0, vocab: int = 258, longest: int = 12):
    """Prompts with one to four completions of one to ``longest`` tokens, numbered through."""
    from oorl.policy.packing import Tree

    draw = random.Random(seed)
    trees, first = [], 0
    for _ in range(count):
        prompt = tuple(draw.randrange(vocab) for _ in range(draw.randint(1, longest)))
        responses = tuple(
            tuple(draw.randrange(vocab) for _ in range(draw.randint(1, longest))) for _ in range(draw.randint(1, 4))
        )
        trees.append(Tree(prompt, responses, tuple(range(first, first + len(responses)))))
        first += len(responses)
    return trees


def weights_of(policy: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


class FakePool:
    """Stands in for the reward pool where the truth of verdicts is not the point: they follow from the text alone."""

    def submit(self, jobs):
        return FakeBatch(jobs)

    def gather(self, batch, deadline_s=None):
        return [self._result(job) for job in batch.jobs]

    @staticmethod
    def _result(job):
        from oorl.reward import Result, Verdict

        share = sum(letter.islower() for letter in job.completion) / max(len(job.completion), 1)
        verdict = Verdict.PASS if share > 0.1 else Verdict.WA
        if sum(map(ord, job.completion)) % 11 == 0:
            verdict = Verdict.INFRA
        reward = None if verdict is Verdict.INFRA else float(verdict is Verdict.PASS)
        return Result(job.job_id, verdict, reward, 0, 1, (verdict,), 0.0, 0.0, "")


class FakeBatch:
    def __init__(self, jobs):
        self.jobs = list(jobs)
        self.answered = len(self.jobs)

    def __len__(self):
        return len(self.jobs)
