"""The configuration of a run: one frozen dataclass per component, read from TOML recipes with sections of equal names.

Loads without torch, so that a mistyped recipe is refused before anything heavy is imported. An unknown key, a value of
the wrong type or out of range, and a combination that cannot work are UsageErrors that name ``section.field``.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oorl.errors import UsageError

GROUP_MODES = ("grpo", "dr_grpo", "rloo", "reinforce++_baseline")  # compare a sample with others of its prompt
WHITENED_MODES = ("reinforce++", "reinforce++_baseline")  # token advantages, whitened over the global rollout batch
RECIPES = Path(__file__).parent / "recipes"


def setting(
    default: Any, doc: str, *, low: float = -math.inf, high: float = math.inf, choices: Sequence[str] = ()
) -> Any:
    """A dataclass field with its meaning, its inclusive range, or the values it may take."""
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": tuple(choices)})


@dataclass(frozen=True)
class ModelConfig:
    """The policy."""

    path: str = setting("", "directory of a causal language model and its tokenizer, as transformers saves them")
    template: str = setting(
        "auto", "prompt template; auto takes chat when the tokenizer has one", choices=("auto", "chat", "plain")
    )
    gradient_checkpointing: bool = setting(
        False, "recompute each layer's activations in the backward: less memory, one more forward"
    )
    head_backward: str = setting(
        "exact", "of the head; sparse: unbiased and cheaper where distributions are peaked", choices=("exact", "sparse")
    )
    sparse_tau: float = setting(2.0**-12, "threshold of the sparse backward: smaller is less noise", low=1e-9, high=0.5)
    head_workspace_mb: float = setting(
        0.0, "MB of logits at a time; room for all saves the exact backward a product; 0: 256, or a quarter", low=0.0
    )


@dataclass(frozen=True)
class DataConfig:
    """What is learned from; the order is a permutation of (training.seed, epoch)."""

    problems: str = setting("", "JSONL of oorl.translation/1 problems (needed when objective.w_rl > 0)")
    groups: str = setting("", "oorl.ir_group/1 groups, JSONL (.gz) or Parquet (needed when objective.w_gepo > 0)")
    held_out: str = setting("", "JSONL of problems for training.evaluate_every; none are evaluated when empty")
    max_prompt_tokens: int = setting(4096, "tokens; longer prompts are left out and counted", low=1)


@dataclass(frozen=True)
class RolloutConfig:
    """How completions are sampled."""

    prompts_per_step: int = setting(8, "problems a step, over all ranks", low=1)
    group_size: int = setting(8, "completions of each problem", low=1)
    max_new_tokens: int = setting(1024, "tokens of a completion, its end token included", low=1)
    temperature: float = setting(1.0, "divides the logits, when sampling and when scoring", low=1e-3, high=100)
    top_p: float = setting(
        1.0, "nucleus mass in (0, 1]; below 1 the sampler is no longer exactly the scored policy", low=1e-6, high=1
    )
    batch_sequences: int = setting(256, "completions generated at once on a rank; bounds the key-value cache", low=1)


@dataclass(frozen=True)
class ObjectiveConfig:
    """L = w_rl L_onpolicy / N_tokens + w_gepo L_gepo / N_groups (arXiv 2505.12723, eq. 10), denominators global."""

    w_rl: float = setting(1.0, "weight of the on-policy loss; 0 leaves rollouts and unit tests out", low=0)
    w_gepo: float = setting(0.01, "weight of the preference loss over IR groups; 0 leaves it out", low=0)
    advantages: str = setting("reinforce++", "mode of the advantages", choices=("reinforce++", *GROUP_MODES))
    surrogate: str = setting(
        "clip",
        "clip: PPO's minimum; cispo: clips the weight and not the update (try clip_eps_low 1 and clip_eps_high 4)",
        choices=("clip", "cispo"),
    )
    clip_eps_low: float = setting(0.2, "the ratio is clipped below at 1 - this", low=0, high=1)
    clip_eps_high: float = setting(0.2, "the ratio is clipped above at 1 + this", low=0)
    ratio_level: str = setting(
        "token", "importance ratio per token, or per sequence (GSPO)", choices=("token", "sequence")
    )
    aggregation: str = setting(
        "token_mean",
        "how token losses become one",
        choices=("token_mean", "seq_mean_token_mean", "seq_mean_token_sum_norm"),
    )
    kl_coef: float = setting(
        0.0, "weight of the divergence from the starting model; above 0 a reference model is kept", low=0
    )
    kl_estimator: str = setting("k1", "estimator of the divergence in d = log pi - log ref", choices=("k1", "k2", "k3"))
    kl_placement: str = setting(
        "reward", "in the reward (reinforce++ modes only) or in the loss", choices=("reward", "loss")
    )
    kl_importance: bool = setting(False, "in the loss, times the ratio: k1 and k3 then have the divergence's gradient")


@dataclass(frozen=True)
class GepoConfig:
    """Preference over IR groups: Group Equivalent Preference Optimization (eq. 6-9), or DPO on the same groups."""

    loss: str = setting(
        "gepo",
        "gepo: a group's winners over its losers, and close to each other; dpo: mean over its winner-loser pairs",
        choices=("gepo", "dpo"),
    )
    groups_per_update: int = setting(4, "groups in each optimizer update, over all ranks", low=1)
    beta: float = setting(0.1, "sharpness of the preference (not printed in the paper: DPO's default)", low=1e-6)
    variance_weight: float = setting(1.0, "lambda, weight of the winners' variance; dpo has no such term", low=0)
    length_normalize: bool = setting(False, "score a member by its mean token log-ratio instead of the sum")
    max_tokens: int = setting(
        8192, "of prompt and member; longer members, and groups left with too few, are left out and counted", low=2
    )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW in fp32 and a cosine schedule with linear warm-up."""

    lr: float = setting(5e-7, "peak learning rate", low=0)
    beta1: float = setting(0.9, "decay of the first moment", low=0, high=0.9999999)
    beta2: float = setting(0.95, "decay of the second moment", low=0, high=0.9999999)
    eps: float = setting(1e-8, "floor of the second moment's root", low=1e-16)
    weight_decay: float = setting(0.0, "decoupled weight decay", low=0)
    max_grad_norm: float = setting(1.0, "global gradient norm is clipped to this; 0 clips nothing", low=0)
    warmup_ratio: float = setting(0.03, "share of the steps over which lr rises linearly", low=0, high=1)
    min_lr_ratio: float = setting(0.0, "lr at the end, as a share of the peak", low=0, high=1)


@dataclass(frozen=True)
class RewardConfig:
    """The pool that runs unit tests."""

    slots: int = setting(0, "programs run at once on a node; 0: its cores less two, at least two", low=0)
    batch_deadline_s: float = setting(
        300.0, "seconds from submission until every sample of a batch has a verdict", low=1
    )
    check_references: bool = setting(
        True, "run a problem's own source on its tests before its first sample; where it fails, its samples are masked"
    )


@dataclass(frozen=True)
class TrainingConfig:
    """The loop, and what it leaves on disk."""

    out_dir: str = setting("runs/oorl", "run directory: config.toml, metrics.jsonl, checkpoints/, model/")
    steps: int = setting(0, "rollout steps; 0 means one epoch", low=0)
    seed: int = setting(0, "of the data order and of sampling", low=0, high=2**31 - 1)
    num_iterations: int = setting(1, "passes over each rollout batch", low=1)
    mini_batches: int = setting(1, "optimizer updates in each pass", low=1)
    micro_batch_tokens: int = setting(
        16384, "padded tokens of one forward and backward on a rank; a longer row runs alone", low=1
    )
    row_tokens: int = setting(1024, "completions of one prompt share a row up to this many tokens", low=1)
    save_every: int = setting(50, "steps between checkpoints; 0 writes only the last", low=0)
    keep_last: int = setting(2, "checkpoints kept", low=1)
    evaluate_every: int = setting(0, "steps between evaluations on data.held_out; 0 for none", low=0)
    permute_rewards: bool = setting(
        False, "control experiment: rewards are shuffled within the global batch, so they teach nothing"
    )


@dataclass(frozen=True)
class Config:
    """A whole run; the sections of a recipe are these fields."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    rollout: RolloutConfig = RolloutConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    gepo: GepoConfig = GepoConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    reward: RewardConfig = RewardConfig()
    training: TrainingConfig = TrainingConfig()

    @property
    def updates_per_step(self) -> int:
        """Optimizer updates made from one rollout batch."""
        return self.training.num_iterations * self.training.mini_batches if self.objective.w_rl else 1


SECTIONS: Mapping[str, type] = {name: type(getattr(Config(), name)) for name in Config.__dataclass_fields__}


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe, apply ``section.field=value`` overrides, and check the whole; UsageError says what is wrong.

    A bare name such as ``cpu_tiny`` that is no file here means the recipe of that name in the package.
    """
    path = Path(recipe)
    if not path.exists() and path.parent == Path("."):
        packaged = RECIPES / path.with_suffix(".toml").name
        path = packaged if packaged.exists() else path
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise UsageError(
            f"cannot read the recipe {recipe}: {err.strerror}; give a TOML file or one of: {known}"
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise UsageError(f"{path}: not valid TOML ({err}); mend that line") from err
    try:
        config = config_from_dict(tree)
    except UsageError as err:
        raise UsageError(f"{path}: {err}") from err
    return check(override(config, overrides))


def config_from_dict(tree: Mapping[str, Any]) -> Config:
    """Build a Config from nested mappings, checking names, types and ranges but not combinations (``check`` does)."""
    sections = {}
    for name, values in tree.items():
        if name not in SECTIONS:
            raise UsageError(f"[{name}] is not a section{_nearest(name, SECTIONS)}")
        if not isinstance(values, Mapping):
            raise UsageError(f"{name}: expected a section [{name}] with fields, found {values!r}")
        sections[name] = _section(name, SECTIONS[name](), values)
    return Config(**sections)


def override(config: Config, assignments: Sequence[str]) -> Config:
    """Return ``config`` with ``section.field=value`` assignments applied; text needs no quotes."""
    for assignment in assignments:
        target, equals, text = assignment.partition("=")
        name, dot, key = target.strip().partition(".")
        if not (equals and dot):
            raise UsageError(f"--set {assignment}: write section.field=value, for instance optimizer.lr=1e-6")
        if name not in SECTIONS:
            raise UsageError(f"--set {assignment}: [{name}] is not a section{_nearest(name, SECTIONS)}")
        current = getattr(config, name)
        value = text.strip() if isinstance(getattr(current, key, None), str) else _toml_value(text)
        config = dataclasses.replace(config, **{name: _section(name, current, {key: value})})
    return config


def check(config: Config) -> Config:
    """Refuse combinations that cannot work, naming the field to change; returns the config unchanged."""
    objective, training, rollout = config.objective, config.training, config.rollout
    rl, gepo, mode = objective.w_rl > 0, objective.w_gepo > 0, objective.advantages
    with_kl, in_loss = objective.kl_coef > 0 and rl, objective.kl_placement == "loss"
    faults = (
        (not config.model.path, "model.path: empty; give the directory of a causal language model"),
        (not training.out_dir, "training.out_dir: empty; give a directory"),
        (
            not (rl or gepo),
            "objective.w_rl, objective.w_gepo: both are 0, so nothing would be learned; set one above 0",
        ),
        (
            rl and not config.data.problems,
            "data.problems: empty, but objective.w_rl > 0 needs problems; give a JSONL file, or set objective.w_rl=0",
        ),
        (
            gepo and not config.data.groups,
            "data.groups: empty, but objective.w_gepo > 0 needs them; give a JSONL file, or set objective.w_gepo=0",
        ),
        (
            rl and mode in GROUP_MODES and rollout.group_size == 1,
            f"rollout.group_size: 1, but objective.advantages={mode!r} compares a problem's completions; use 2 or more",
        ),
        (
            rl and rollout.prompts_per_step % training.mini_batches,
            f"training.mini_batches: {training.mini_batches} does not divide "
            f"rollout.prompts_per_step={rollout.prompts_per_step}; use a divisor",
        ),
        (
            rollout.batch_sequences < rollout.group_size,
            f"rollout.batch_sequences: {rollout.batch_sequences} cannot hold a group of {rollout.group_size}; raise it",
        ),
        (
            with_kl and not in_loss and mode not in WHITENED_MODES,
            f"objective.kl_placement: 'reward', but objective.advantages={mode!r} has no token rewards; use 'loss'",
        ),
        (
            with_kl and in_loss and objective.kl_estimator == "k1" and not objective.kl_importance,
            "objective.kl_estimator: 'k1' in the loss has no gradient on average; use 'k2' or 'k3', "
            "objective.kl_importance=true, or objective.kl_placement='reward'",
        ),
        (
            with_kl and objective.kl_importance and not in_loss,
            "objective.kl_importance: true, but only a divergence in the loss is weighted; set kl_placement='loss'",
        ),
        (
            training.evaluate_every and not config.data.held_out,
            "training.evaluate_every: above 0, but data.held_out is empty; give a JSONL file of problems",
        ),
    )
    for wrong, message in faults:
        if wrong:
            raise UsageError(message)
    return config


def to_toml(config: Config, comments: Sequence[str] = ()) -> str:
    """The resolved configuration as TOML, every field written out; ``comments`` head the file."""
    lines = [f"# {comment}" for comment in comments]
    for name in SECTIONS:
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_toml_text(value)}" for key, value in dataclasses.asdict(getattr(config, name)).items()]
    return "\n".join(lines).lstrip("\n") + "\n"


def _section(name: str, current: Any, values: Mapping[str, Any]) -> Any:
    fields = current.__dataclass_fields__
    checked = {}
    for key, value in values.items():
        if key not in fields:
            raise UsageError(f"{name}.{key} is not a setting{_nearest(key, fields)}")
        checked[key] = _value(f"{name}.{key}", value, type(fields[key].default), fields[key].metadata)
    return dataclasses.replace(current, **checked)


def _value(where: str, value: Any, kind: type, limits: Mapping[str, Any]) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        expected = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
        raise UsageError(f"{where}: expected {expected}, found {value!r}")
    if limits["choices"] and value not in limits["choices"]:
        raise UsageError(
            f"{where}: {value!r} is none of {', '.join(limits['choices'])}{_nearest(value, limits['choices'])}"
        )
    if kind in (int, float) and not limits["low"] <= value <= limits["high"]:  # also refuses nan
        above, below = f"at least {limits['low']:g}", f"at most {limits['high']:g}"
        bounds = [text for text, limit in ((above, limits["low"]), (below, limits["high"])) if math.isfinite(limit)]
        raise UsageError(f"{where}: {value!r} is out of range; it must be {' and '.join(bounds)}")
    if kind is float and not math.isfinite(value):
        raise UsageError(f"{where}: {value!r} is not finite")
    return value


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text.strip()


def _toml_text(value: Any) -> str:
    if isinstance(value, str):  # a JSON string is a TOML basic string, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return str(value).lower() if isinstance(value, bool) else repr(value)
