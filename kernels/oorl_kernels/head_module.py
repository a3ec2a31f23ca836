"""The LM head as a module that gives log-probs, so that whoever shards its weight hears of the product.

FSDP and ZeRO-3 gather a weight in the hooks around a module's forward and reduce its gradient in those around its
backward. A function that is handed `lm_head.weight` outside of them gets a shard, or gradients that nobody sums.
Dimensions: H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .token_logprobs import TokenLogprobs, linear_token_logprobs


class LinearTokenLogprobs(nn.Linear):
    """An LM head: logits from hidden states, or log-probs of target tokens without the logits.

        head(hidden_states)              = hidden_states @ head.weight.T + head.bias
        head(hidden_states, target_ids)  = linear_token_logprobs(hidden_states, head.weight, target_ids, bias=head.bias)

    In everything else it is the `torch.nn.Linear` it derives from: parameters `weight` [V, H] and `bias` [V] or None,
    names in the state dict, ties. Both calls run inside the module's forward, where FSDP (also as a group of its own)
    and ZeRO-3 hold the parameters whole.

    Args:
        in_features: H.
        out_features: V.
        bias, device, dtype: as for `torch.nn.Linear`, but there is no bias by default.

    >>> head = LinearTokenLogprobs(3, 4)
    >>> hidden_states, target_ids = torch.zeros(2, 3), torch.tensor([1, -100])
    >>> head(hidden_states).shape, head(hidden_states, target_ids).logprobs.detach()
    (torch.Size([2, 4]), tensor([-1.3863,  0.0000]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)

    @classmethod
    def convert(cls, linear: nn.Linear) -> LinearTokenLogprobs:
        """The same module, a LinearTokenLogprobs from now on.

        Only its class changes, as `fully_shard` changes a module's: parameters, ties to an embedding, hooks and the
        module's place in the model stay what they were. A head that is one already is returned as it is. Convert
        before `fully_shard` is applied to the head itself; for its parents the order does not matter.

        Raises:
            TypeError: not `torch.nn.Linear` itself: an adapter, a quantized or a sharded layer, another kind of head.
            ValueError: the layer carries a forward of its own (accelerate's `device_map` installs one, for instance).

        >>> linear = nn.Linear(3, 4)
        >>> LinearTokenLogprobs.convert(linear) is linear
        True
        """
        if type(linear) is cls:
            return linear
        if type(linear) is not nn.Linear:
            raise TypeError(
                f"linear must be a plain torch.nn.Linear, not {type(linear).__module__}.{type(linear).__qualname__}: "
                "an adapter or a quantized layer computes something else from its weight, and a layer that is already "
                "sharded by itself is converted before fully_shard"
            )
        if "forward" in vars(linear):
            raise ValueError(
                "linear carries a forward of its own (accelerate's device_map installs one), which would hide this "
                "module's; remove it first"
            )
        linear.__class__ = cls
        return linear

    def forward(
        self, hidden_states: Tensor, target_ids: Tensor | None = None, **options: Any
    ) -> Tensor | TokenLogprobs:
        """Logits [..., V] of hidden states [..., H]; with target_ids [...], their `TokenLogprobs` instead.

        Outside autocast, hidden states narrower than the weight are widened to it: a float32 head on a bfloat16
        backbone works, and is exact.

        Args:
            hidden_states: [..., H].
            target_ids: [...] int32 or int64, in 0..V-1 or `ignore_index`; None: logits.
            options: with target_ids, keyword arguments of `linear_token_logprobs` other than `bias`.

        Raises:
            TypeError: options without target_ids; and TypeError, ValueError, IndexError as `linear_token_logprobs`.
        """
        hidden_states = self._widened(hidden_states)
        if target_ids is not None:
            return linear_token_logprobs(hidden_states, self.weight, target_ids, bias=self.bias, **options)
        if options:
            raise TypeError(f"{', '.join(options)} given without target_ids; logits take no options")
        return super().forward(hidden_states)

    def _widened(self, hidden_states: Tensor) -> Tensor:
        dtype = self.weight.dtype
        if (
            hidden_states.dtype == dtype
            or not hidden_states.is_floating_point()
            or torch.is_autocast_enabled(hidden_states.device.type)
            or torch.promote_types(hidden_states.dtype, dtype) != dtype
        ):
            return hidden_states
        return hidden_states.to(dtype)
