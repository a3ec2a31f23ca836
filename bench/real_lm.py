"""A small language model of Python code, whose hidden states and head give benchmarks real distributions.

Random hidden states and heads make every row of the softmax flat, which no trained model's is; what a backward pass may
leave out can only be measured on real ones. `python -m bench.real_lm` trains a byte-level BPE and a small Qwen3 on the
Python files of this interpreter's standard library and installed packages, and stores the hidden states of held-out
tokens with the head. The file in the repository was made so; its makers' versions are inside.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from oorl_kernels import linear_token_logprobs
from torch import Tensor
from tqdm import tqdm

DEFAULT_FILE = Path(__file__).parent / "data" / "real_lm.npz"


@dataclass(frozen=True)
class Settings:
    """Corpus, model and training."""

    vocab_size: int = 32768
    hidden_size: int = 128
    num_layers: int = 4
    context: int = 256  # tokens a row
    batch: int = 8  # rows a step
    steps: int = 2000
    lr: float = 3e-3
    corpus_bytes: int = 48_000_000
    max_file_bytes: int = 60_000  # longer ones are mostly tables
    kept_tokens: int = 2048  # held-out hidden states that are stored
    seed: int = 0


def python_files() -> list[Path]:
    """Python files of the standard library and of what is installed, in a fixed order."""
    roots = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")}
    return sorted({path for root in roots for path in root.rglob("*.py")})


def read_corpus(settings: Settings) -> tuple[list[str], list[str]]:
    """(training, held-out) texts, no text twice; every twentieth is held out."""
    paths = python_files()
    random.Random(settings.seed).shuffle(paths)
    seen, texts, total = set(), [], 0
    for path in paths:
        if path.stat().st_size > settings.max_file_bytes:
            continue
        raw = path.read_bytes()
        digest = hashlib.sha256(raw).digest()
        if len(raw) < 200 or digest in seen:
            continue
        seen.add(digest)
        texts.append(raw.decode("utf-8", errors="replace"))
        total += len(raw)
        if total >= settings.corpus_bytes:
            break
    return [text for i, text in enumerate(texts) if i % 20], texts[::20]


def token_rows(texts: Sequence[str], tokenizer, context: int) -> Tensor:
    """All texts one after the other, each ended, cut into rows: [R, context + 1]."""
    ids = []
    for encoded in tokenizer(list(texts))["input_ids"]:
        ids += [*encoded, tokenizer.eos_token_id]
    rows = len(ids) // (context + 1)
    return torch.tensor(ids[: rows * (context + 1)], dtype=torch.int32).view(rows, context + 1)


def batches(rows: Tensor, settings: Settings) -> Iterator[Tensor]:
    """Rows in random order, again from the start when they run out: [batch, context + 1] int64 each."""
    generator = torch.Generator().manual_seed(settings.seed)
    while True:
        for chosen in torch.randperm(rows.shape[0], generator=generator).split(settings.batch):
            if chosen.numel() == settings.batch:
                yield rows[chosen].long()


def train(model, rows: Tensor, settings: Settings) -> list[float]:
    """Next-token training with cosine decay; the loss of every step in nats."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.01)
    losses = []
    stream = batches(rows, settings)
    progress = tqdm(range(settings.steps), desc="language model", unit="step", dynamic_ncols=True)
    for step in progress:
        ramp = min(1.0, (step + 1) / 100)
        optimizer.param_groups[0]["lr"] = settings.lr * ramp * (0.55 + 0.45 * math.cos(math.pi * step / settings.steps))
        batch = next(stream)
        loss = -_logprobs(model, batch, workspace_mb=64).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        progress.set_postfix(loss=f"{losses[-1]:.2f}")
    return losses


def _logprobs(model, batch: Tensor, workspace_mb: int) -> Tensor:
    hidden = model.model(input_ids=batch[:, :-1]).last_hidden_state
    return linear_token_logprobs(hidden, model.lm_head.weight, batch[:, 1:], workspace_mb=workspace_mb).logprobs


@torch.no_grad()
def held_out_states(model, rows: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """Hidden states [kept_tokens, H] of random held-out positions, and the tokens that follow them."""
    hidden, targets = [], []
    for batch in rows[:128].long().split(settings.batch):
        hidden.append(model.model(input_ids=batch[:, :-1]).last_hidden_state.flatten(0, 1))
        targets.append(batch[:, 1:].flatten())
    hidden, targets = torch.cat(hidden), torch.cat(targets)
    chosen = torch.randperm(len(targets), generator=torch.Generator().manual_seed(settings.seed))
    chosen = chosen[: settings.kept_tokens].sort().values
    return hidden[chosen], targets[chosen]


def save(path: Path, hidden: Tensor, head: Tensor, targets: Tensor, about: dict) -> None:
    """Hidden states as float16; the head as int8 with a float16 scale a row, since it is most of the file."""
    scale = head.abs().amax(1, keepdim=True) / 127
    scale = scale.clamp(min=1e-6).half()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        hidden=hidden.half().numpy(),
        head=(head / scale.float()).round().clamp(-127, 127).to(torch.int8).numpy(),
        head_scale=scale.numpy(),
        targets=targets.to(torch.int32).numpy(),
        about=json.dumps(about),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_FILE)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    import transformers

    from oorl.policy.model import build_tiny_qwen3
    from oorl.quickstart.tokenizer import train_tokenizer

    settings = Settings(steps=args.steps)
    torch.set_num_threads(args.threads)
    texts, held_out = read_corpus(settings)
    print(f"{len(texts)} training files, {len(held_out)} held out; training the tokenizer", flush=True)
    tokenizer = train_tokenizer(texts, settings.vocab_size)
    rows, held_out_rows = (token_rows(part, tokenizer, settings.context) for part in (texts, held_out))
    print(f"{rows.numel():,} training tokens, {held_out_rows.numel():,} held out", flush=True)
    model = build_tiny_qwen3(
        settings.vocab_size, settings.hidden_size, settings.num_layers, eos_token_id=tokenizer.eos_token_id
    )
    losses = train(model, rows, settings)
    hidden, targets = held_out_states(model, held_out_rows, settings)
    result = linear_token_logprobs(hidden, model.lm_head.weight, targets, entropy="value", workspace_mb=64)
    about = {
        "settings": asdict(settings),
        "tokens_seen": settings.steps * settings.batch * settings.context,
        "train_loss_last_50": sum(losses[-50:]) / len(losses[-50:]),
        "held_out_loss": -result.logprobs.mean().item(),
        "held_out_entropy": result.entropy.mean().item(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    print(json.dumps(about, indent=2))
    save(args.out, hidden, model.lm_head.weight.detach(), targets, about)


if __name__ == "__main__":
    main()
