"""Every number of the study, and the settings each arm chooses from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """What an arm chooses on the validation groups; the likelihood has no ``beta``, and GEPO alone a variance term."""

    lr: float
    beta: float | None = None
    length_normalize: bool = False
    variance_weight: float = 1.0

    @property
    def label(self) -> str:
        """A name for people and for folders.

        >>> Candidate(3e-4, 10.0, True).label
        'lr0.0003-beta10-mean'
        """
        preference = "" if self.beta is None else f"-beta{self.beta:g}-{'mean' if self.length_normalize else 'sum'}"
        variance = f"-lambda{self.variance_weight:g}" if self.variance_weight != 1 else ""
        return f"lr{self.lr:g}{preference}{variance}"


PREFERENCE = (Candidate(1e-3, 0.1), Candidate(1e-3, 10.0, True), Candidate(3e-4, 10.0, True))
# With beta = 10 the variance of mean log-ratios weighs as lambda / beta^2 beside the preference.
VARIANCE = tuple(Candidate(3e-4, 10.0, True, weight) for weight in (0.0, 100.0))
LIKELIHOOD = (Candidate(3e-4), Candidate(1e-3))


@dataclass(frozen=True)
class Settings:
    """Sizes of split, model and training, and each arm's grid."""

    train_groups: int = 320
    validation_groups: int = 40
    heldout_groups: int = 130
    train_members: int = 4  # winners, and losers, of a training group, drawn from its own; others are whole
    vocab_size: int = 1024
    hidden_size: int = 128
    num_layers: int = 4
    warmup_steps: int = 300
    warmup_batch: int = 8  # source -> winner pairs a step
    warmup_lr: float = 2e-3
    updates: int = 80
    groups_per_update: int = 4
    likelihood: tuple[Candidate, ...] = LIKELIHOOD
    dpo: tuple[Candidate, ...] = PREFERENCE
    gepo: tuple[Candidate, ...] = PREFERENCE + VARIANCE

    def grid(self, arm: str) -> tuple[Candidate, ...]:
        return getattr(self, arm)


ARMS = ("likelihood", "dpo", "gepo")
MATCHED = "dpo-matched"  # DPO with what GEPO chose: the two then differ in the loss alone
