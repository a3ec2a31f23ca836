"""The policy: a causal language model whose head is read as log-probs of chosen tokens, never as logits.

``Policy.score`` runs the backbone and hands hidden states and the head's weight to ``linear_token_logprobs``. It is
registered as an FSDP forward method, because the head's weight must be read where FSDP has gathered it: reading it
elsewhere gives wrong gradients silently.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from oorl_kernels import linear_token_logprobs
from oorl_kernels.sparse import DEFAULT_TAU, Sparsity
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Cache,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.utils import logging as hf_logging

from oorl.errors import UserError
from oorl.policy.packing import PackedBatch, Tree, pack

HEAD_TOLERANCE = 1e-3  # nats; fp32 rounding of tens of layers stays far below, a head read wrongly lies far above


@dataclass(frozen=True)
class Head:
    """What stands between the head's product and the model's logits."""

    logit_scale: float = 1.0
    softcap: float | None = None


class Policy(nn.Module):
    """A causal language model that scores and generates.

    Raises:
        UserError: the model's head or attention cannot be reproduced exactly by ``score``.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        head_backward: str = "exact",
        sparse_tau: float = DEFAULT_TAU,
        head_workspace_mb: float | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.head_backward, self.sparse_tau, self.head_workspace_mb = head_backward, sparse_tau, head_workspace_mb
        self.sparsities: list[Sparsity] = []  # one a scored batch with a sparse backward, until somebody reads them
        self.head = read_head(model)
        self.window = attention_window(model.config)
        # The directory's own sampling defaults (top_k, penalties) would bend rollouts away from the scored policy.
        self.exported_generation_config = model.generation_config
        model.generation_config = GenerationConfig()
        self.train(model.training)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def score(
        self, batch: PackedBatch, temperature: float = 1.0, with_entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probs and, if asked, entropies (without gradient) of a batch's N response tokens, both [N].

        Only the N predicting positions reach the head; prompts and padding cost it nothing.
        """
        if self.window and int(batch.position_ids.max()) >= self.window:
            raise UserError(
                f"{type(self.model).__name__}: a sequence of {int(batch.position_ids.max()) + 1} tokens is longer than "
                f"its attention window of {self.window}; lower data.max_prompt_tokens, rollout.max_new_tokens or "
                "gepo.max_tokens"
            )
        batch = batch.to(self.device)
        mask = batch.attention_mask
        if self.model.config._attn_implementation == "eager":  # eager attention adds its mask; SDPA selects by it
            dtype = self.model.get_input_embeddings().weight.dtype
            mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
        hidden_states = self.model.base_model(
            input_ids=batch.input_ids, position_ids=batch.position_ids, attention_mask=mask, use_cache=False
        ).last_hidden_state.flatten(0, 1)
        lm_head = self.model.get_output_embeddings()
        backward = self.head_backward if torch.is_grad_enabled() else "exact"
        scored = linear_token_logprobs(
            hidden_states.index_select(0, batch.predict_index),
            lm_head.weight,
            batch.target_ids,
            bias=lm_head.bias,
            temperature=temperature,
            logit_scale=self.head.logit_scale,
            softcap=self.head.softcap,
            entropy="value" if with_entropy else "none",
            backward=backward,
            sparse_tau=self.sparse_tau,
            workspace_mb=self.head_workspace_mb,
        )
        if backward == "sparse":
            self.sparsities.append(scored.sparsity)
        # A plain tuple of no views: FSDP hooks its backward onto the tensors it finds there.
        return scored.logprobs.clone(), scored.entropy.clone() if with_entropy else None

    @torch.no_grad()
    def prefill(self, input_ids: Tensor, attention_mask: Tensor, cache: Cache) -> None:
        """Fill ``cache`` with left-padded prompts; both [B, P]."""
        position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        self.model.base_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )

    @torch.no_grad()
    def generate(self, **kwargs: Any) -> Tensor:
        """The model's own ``generate``; inside ``gathered``, ranks need not take equal numbers of steps."""
        return self.model.generate(**kwargs, synced_gpus=False)

    def release(self) -> None:
        """Let go of parameters a forward without backward left gathered; nothing to do unsharded.

        FSDP keeps the root group for the backward that usually follows. Until it is released, ``parameters()`` are not
        the sharded masters, and an optimizer or a checkpoint that took them would hold the wrong tensors.
        """
        for module in self.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Hold every sharded parameter whole, for generation, and let go of it afterwards; nothing to do unsharded."""
        shards = [module for module in self.modules() if isinstance(module, FSDPModule)]
        for module in shards:
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()
        training = self.training
        self.eval()  # transformers drops the cache of a model that trains with gradient checkpointing
        try:
            yield
        finally:
            self.train(training)
            for module in shards:
                module.reshard()
                module.set_reshard_after_forward(module is not self, recurse=False)


def build_tiny_qwen3(
    vocab_size: int,
    hidden_size: int = 128,
    num_layers: int = 4,
    *,
    num_heads: int = 4,
    num_kv_heads: int = 2,
    intermediate_size: int | None = None,
    max_position_embeddings: int = 4096,
    tie_word_embeddings: bool = True,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    seed: int = 0,
) -> PreTrainedModel:
    """A random Qwen3 in fp32; the defaults make about 0.9 million parameters with a vocabulary of 1000.

    Reproducible from ``seed``; the caller's random state is left alone.
    """
    if hidden_size % num_heads or num_heads % num_kv_heads:
        raise ValueError(
            f"hidden_size {hidden_size}, num_heads {num_heads}, num_kv_heads {num_kv_heads}: each must divide the last"
        )
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size or 3 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_kv_heads,
        head_dim=hidden_size // num_heads,
        max_position_embeddings=max_position_embeddings,
        tie_word_embeddings=tie_word_embeddings,
        bos_token_id=None,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa").eval()


def load_policy(
    directory: str | Path,
    *,
    gradient_checkpointing: bool = False,
    dtype: torch.dtype = torch.float32,
    head_backward: str = "exact",
    sparse_tau: float = DEFAULT_TAU,
    head_workspace_mb: float | None = None,
) -> Policy:
    """Load a causal language model directory with fp32 master weights; ``score`` is checked against its logits.

    Raises:
        UserError: the directory is no model, or one whose head or attention this policy cannot reproduce.
    """
    config = _read(directory, "model", AutoConfig.from_pretrained)
    for name, value in vars(config).items():
        if ("dropout" in name or name.endswith("_pdrop")) and isinstance(value, float):
            setattr(config, name, 0.0)  # old and new log-probs must come from one and the same function
    # SDPA leaves out softcapped attention (Gemma 2); the eager form keeps it.
    attention = "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"
    model = _read(
        directory,
        "model",
        AutoModelForCausalLM.from_pretrained,
        config=config,
        dtype=dtype,
        attn_implementation=attention,
    )
    policy = Policy(model, head_backward, sparse_tau, head_workspace_mb)
    verify_head(policy)
    if gradient_checkpointing:
        older = "gradient_checkpointing_enable"  # its name before transformers 5.20 or so
        getattr(model, "activation_checkpointing_enable", getattr(model, older, None))({"use_reentrant": False})
        policy.train()  # transformers recomputes only in training mode; every dropout is 0
    return policy


def load_tokenizer(directory: str | Path) -> Tokenizer:
    """Load a tokenizer, alone or beside its model; UserError when there is none or it has no end token."""
    tokenizer = _read(directory, "tokenizer", AutoTokenizer.from_pretrained)
    if not tokenizer("a b", add_special_tokens=False).input_ids:  # transformers makes an empty one of a config alone
        raise UserError(f"{directory}: has config.json but no tokenizer's files; save the tokenizer there too")
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"{directory}: the tokenizer has no end-of-sequence token (eos_token); set one and save it again"
        )
    return tokenizer


def read_head(model: PreTrainedModel) -> Head:
    """Read scale and soft cap of the logits from the model's config; UserError for a head that is not linear."""
    name = type(model).__name__
    head, config = model.get_output_embeddings(), model.config
    if type(head) is not nn.Linear:
        raise UserError(
            f"{name}: its head is {type(head).__name__}, not torch.nn.Linear; token log-probs need a linear head"
        )
    scale = getattr(config, "logit_scale", None) or 1.0  # Cohere multiplies
    divisor = getattr(config, "logits_scaling", None) or 1.0  # Granite divides
    return Head(logit_scale=scale / divisor, softcap=getattr(config, "final_logit_softcapping", None))


def attention_window(config: PreTrainedConfig) -> int | None:
    """Length of the model's sliding attention window, or None when every layer sees everything."""
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    sliding = kinds is None or any("sliding" in kind for kind in kinds)
    return getattr(text, "sliding_window", None) if sliding else None


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide transformers' own progress bars: they would tear the run's."""
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()


@torch.no_grad()
def verify_head(policy: Policy) -> None:
    """Compare ``score`` with the model's own logits, on a prompt with two completions; UserError when they differ.

    Catches a head with a scale not known here, and attention that ignores the mask or the positions it is given.
    """
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(policy.model.config.get_text_config().vocab_size, (12,), generator=generator).tolist()
    prompt, responses = tuple(tokens[:4]), (tuple(tokens[4:7]), tuple(tokens[7:12]))
    (batch,) = pack([Tree(prompt, responses, (0, 1))], row_tokens=64, batch_tokens=64)
    try:
        logprobs, _ = policy.score(batch)
    except ValueError as err:  # the kernels refuse values that are not finite
        raise UserError(f"{type(policy.model).__name__}: cannot score with these weights: {err}") from err
    expected = []
    for response in responses:
        ids = torch.tensor([prompt + response], device=policy.device)
        logits = policy.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
        expected.append(logits.log_softmax(-1).gather(-1, ids[0, len(prompt) :, None])[:, 0])
    difference = (logprobs - torch.cat(expected)).abs().max().item()
    if not difference <= HEAD_TOLERANCE:
        raise UserError(
            f"{type(policy.model).__name__}: log-probs from its hidden states differ from its own logits by "
            f"{difference:.3g} nats: its head or attention is of a kind not known here; use another architecture"
        )


def shard(policy: Policy, mesh: DeviceMesh) -> Policy:
    """Shard over ``mesh`` with FSDP2: a group per decoder layer; embedding, final norm and head in the root's.

    The root group holds both ends of a tied embedding. On CUDA it computes in bf16 and reduces in fp32, on the CPU in
    the weights' own dtype; the master weights stay as they are.
    """
    # Casting inputs would round advantages and old log-probs to bf16 on their way in.
    precision = MixedPrecisionPolicy(cast_forward_inputs=False)
    if mesh.device_type == "cuda":
        precision = replace(precision, param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    policy.to(mesh.device_type)
    for layer in _decoder_layers(policy.model):
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(policy, mesh=mesh, mp_policy=precision, reshard_after_forward=False)
    for method in ("score", "prefill", "generate"):
        register_fsdp_forward_method(policy, method)
    return policy


def _decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    lists = [module for module in model.base_model.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=lambda modules: sum(p.numel() for p in modules.parameters()), default=None)
    if layers is None:
        raise UserError(f"{type(model).__name__}: found no list of decoder layers to shard; run it on one process")
    return layers


def _read(directory: str | Path, what: str, load: Any, **kwargs: Any) -> Any:
    path = Path(directory)
    wanted = ("config.json", "tokenizer_config.json") if what == "tokenizer" else ("config.json",)
    if not any((path / name).is_file() for name in wanted):
        reason = f"has no {' and no '.join(wanted)}" if path.is_dir() else "is no directory"
        raise UserError(f"{directory}: {reason}; give a {what} directory saved by transformers' save_pretrained")
    try:
        with quiet_transformers():
            return load(str(path), local_files_only=True, **kwargs)
    except Exception as err:  # parsers of half a dozen formats raise whatever they like
        first = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        raise UserError(
            f"{directory}: cannot load its {what} ({first[:200]}); save it again with save_pretrained"
        ) from err
