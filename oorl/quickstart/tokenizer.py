"""A small byte-level BPE tokenizer, trained on the quickstart's own corpus."""

from __future__ import annotations

from collections.abc import Iterable

EOS, PAD = "<|endoftext|>", "<|pad|>"


def train_tokenizer(texts: Iterable[str], vocab_size: int, alone: str | None = None):
    """Train a byte-level BPE (any text round-trips) and wrap it for transformers.

    Args:
        texts: the corpus.
        vocab_size: entries including the 256 bytes and the two special tokens.
        alone: regular expression; what it matches is never merged with its surroundings, and merges may run through
            everything between two matches. None: merges stay within words.

    Returns:
        A ``PreTrainedTokenizerFast`` with end-of-text and padding tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    if alone is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        pieces = pre_tokenizers.Split(Regex(alone), "isolated")
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD)
