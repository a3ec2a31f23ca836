"""What happens to a tile of logits in chunked torch: how it is made, summed up, and turned into gradients.

    z = softcap(logit_scale * (x W^T + b)) / T
    dlogp / dz_v = 1[v = target] - p_v        dentropy / dz_v = -p_v (log p_v + entropy)

Row factors rarely touch a tile: it holds `p - 1[target]`, formed in full precision, and the gradient of the row's
log-prob scales the [N, H] operands instead.

Dimensions: N tokens that count (not ignored), H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .head_inputs import HeadOptions, RowParts, RowResults

ARGMAX_BLOCK = 64  # columns


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 stays float64; everything else is reduced in float32."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def product_dtype(tensor: Tensor) -> torch.dtype:
    """What matrix products read: the tensor's own dtype where a half product may write fp32, else the compute dtype."""
    if tensor.is_cuda and torch.version.hip is None and torch.cuda.get_device_capability(tensor.device) >= (8, 0):
        return tensor.dtype
    return compute_dtype(tensor.dtype)


def mm_into(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """out = a b, with half operands allowed for a float32 `out`: sums are fp32 and never rounded to half."""
    if a.dtype == out.dtype:
        return torch.mm(a, b, out=out)
    return torch.mm(a, b, out_dtype=out.dtype, out=out)


def mm_add(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """out += a b, under the same rule."""
    if a.dtype == out.dtype:
        return out.addmm_(a, b)
    return out.add_(torch.mm(a, b, out_dtype=out.dtype))


def spans(total: int, step: int) -> Iterator[tuple[int, int]]:
    """Consecutive (start, stop) pairs that cover range(total)."""
    for start in range(0, total, step):
        yield start, min(start + step, total)


def tile_view(buffer: Tensor, rows: int, columns: int) -> Tensor:
    """The start of a flat buffer as a contiguous [rows, columns] tile."""
    return buffer[: rows * columns].view(rows, columns)


def _rows(value: float | Tensor, n0: int, n1: int) -> float | Tensor:
    return value[n0:n1] if isinstance(value, Tensor) else value


def _column(value: float | Tensor) -> float | Tensor:
    return value[:, None] if isinstance(value, Tensor) else value


@dataclass(frozen=True)
class Head:
    """One call's operands ready for products, and the arithmetic between a product and a tile of z."""

    x: Tensor  # [N, H] in the dtype of the products, scaled already unless `tile_factor` says what is left to do
    weight: Tensor  # [V, H] as given
    bias: Tensor | None  # [V] as given
    row_factor: float | Tensor  # what multiplies x W^T (+ bias): a number or [N]
    tile_factor: float | Tensor | None
    cap_factor: float | Tensor | None  # softcap / temperature: a number or [N]

    @staticmethod
    def prepare(
        x: Tensor, weight: Tensor, bias: Tensor | None, inv_temperature: Tensor | None, options: HeadOptions
    ) -> Head:
        """Fold the factors into the hidden states where products are full precision: that rounds next to nothing."""
        dtype = compute_dtype(x.dtype)
        inverse: float | Tensor = 1.0 / options.temperature
        if inv_temperature is not None:
            inverse = inv_temperature.to(dtype) * inverse
        row_factor, cap_factor = inverse * options.logit_scale, None
        if options.softcap is not None:
            row_factor, cap_factor = options.logit_scale / options.softcap, inverse * options.softcap
        operand, tile_factor = x.to(product_dtype(x)), None
        if isinstance(row_factor, Tensor) or row_factor != 1.0:
            if operand.dtype == dtype:
                operand = operand * _column(row_factor)
            else:
                tile_factor = row_factor
        return Head(operand, weight, bias, row_factor, tile_factor, cap_factor)

    def slab(self, v0: int, v1: int) -> tuple[Tensor, Tensor | None]:
        """Columns v0..v1 of the head in the dtype of the products, and their bias in the compute dtype."""
        bias = None if self.bias is None else self.bias[v0:v1].to(compute_dtype(self.x.dtype))
        return self.weight[v0:v1].to(self.x.dtype), bias

    def logits(self, out: Tensor, n0: int, n1: int, slab: Tensor, bias: Tensor | None) -> Tensor:
        """Write z of rows n0..n1 and one slab of columns into `out` [n1 - n0, columns]."""
        mm_into(out, self.x[n0:n1], slab.t())
        if self.tile_factor is not None:
            out.mul_(_column(_rows(self.tile_factor, n0, n1)))
        if bias is not None:
            factor = _rows(self.row_factor, n0, n1)
            if isinstance(factor, Tensor):
                out.addr_(factor, bias)
            else:
                out.add_(bias, alpha=factor)
        if self.cap_factor is not None:
            out.tanh_().mul_(_column(_rows(self.cap_factor, n0, n1)))
        return out

    def uncap(self, tile: Tensor, z: Tensor, n0: int, n1: int) -> None:
        """Multiply a tile of gradients with the softcap's derivative, read off z (which is destroyed)."""
        factor = _column(_rows(self.cap_factor, n0, n1))
        tile.mul_(z.div_(factor).square_().neg_().add_(1.0)).mul_(factor)


class RowStatistics:
    """Running maximum of rows of z and what else a softmax needs, over tiles of columns.

    `rest` is the sum of exp(z - maximum) without the maximum's own 1: where a row is all but certain of its token the
    sum would round the rest away, and with it 1 - p, which is the gradient. lse = maximum + log1p(rest).
    """

    def __init__(self, num_rows: int, with_entropy: bool, like: Tensor) -> None:
        self.lowest = torch.finfo(like.dtype).min
        self.max = like.new_full((num_rows,), self.lowest)  # not -inf, for a tile may hold nothing but -inf
        self.rest = like.new_zeros(num_rows)
        self.weighted = like.new_zeros(num_rows) if with_entropy else None  # sum of exp(z - maximum) (z - maximum)
        self.target_logit = like.new_zeros(num_rows)

    def update(self, tile: Tensor, spare: Tensor | None, target_ids: Tensor, n0: int, n1: int, v0: int) -> None:
        """Take a tile of z into account and leave exp(z - maximum so far) in it; `spare` is needed for the entropy."""
        index, inside = target_columns(target_ids[n0:n1], v0, v0 + tile.shape[1])
        target_logit = self.target_logit[n0:n1, None]
        target_logit.copy_(torch.where(inside, tile.gather(1, index), target_logit))
        tile_max, top = row_argmax(tile)
        old_max, old_rest = self.max[n0:n1], self.rest[n0:n1]
        new_max = torch.maximum(old_max, tile_max)
        fall = old_max - new_max
        tile.sub_(new_max[:, None])
        if self.weighted is not None:
            shifted = spare.copy_(tile).clamp_(min=self.lowest)  # 0 * -inf must count as 0
        top_value = tile.exp_().gather(1, top)
        others = tile.scatter_(1, top, 0.0).sum(1)
        tile.scatter_(1, top, top_value)
        if self.weighted is not None:
            moved = self.weighted[n0:n1] + (1.0 + old_rest) * fall.clamp(min=self.lowest)
            self.weighted[n0:n1] = moved * fall.exp() + shifted.mul_(tile).sum(1)
        rest = torch.where(tile_max > old_max, (1.0 + old_rest) * fall.exp(), old_rest + top_value[:, 0])
        self.rest[n0:n1] = rest + others
        self.max[n0:n1] = new_max

    def parts(self) -> RowParts:
        """The sums over the tiles so far."""
        row_max = self.max.masked_fill(self.max == self.lowest, -torch.inf)
        return RowParts(row_max, self.rest, self.target_logit, self.weighted)


def row_argmax(tile: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima [rows] and their columns [rows, 1]; by blocks, since finding indices takes ten times what amax does."""
    rows, columns = tile.shape
    if columns % ARGMAX_BLOCK != 0:
        return tuple(result if k == 0 else result[:, None] for k, result in enumerate(tile.max(1)))
    blocks = tile.view(rows, columns // ARGMAX_BLOCK, ARGMAX_BLOCK)
    best, block = blocks.amax(2).max(1)
    within = blocks.gather(1, block[:, None, None].expand(-1, 1, ARGMAX_BLOCK))[:, 0].max(1).indices
    return best, (block * ARGMAX_BLOCK + within)[:, None]


def target_columns(target_ids: Tensor, v0: int, v1: int) -> tuple[Tensor, Tensor]:
    """Column [N, 1] of each target within v0..v1 (clamped), and whether the target lies there."""
    inside = (target_ids >= v0) & (target_ids < v1)
    return (target_ids - v0).clamp_(0, v1 - v0 - 1)[:, None], inside[:, None]


@dataclass(frozen=True)
class RowGradients:
    """What turns a tile of z into a tile with dL/d(x W^T) = gain * tile, row by row.

    Full-precision products put the gain on [N, H] operands; half ones round the tile, which therefore takes it itself.
    """

    head: Head
    target_ids: Tensor
    target_tile: Tensor  # [N] p - 1 of the targets, right even where p rounds to 1
    results: RowResults
    d_logprobs: Tensor
    d_entropy: Tensor | None
    gain: Tensor  # [N]
    gain_on_tile: bool
    operand: Tensor  # [N, H] what the transposed tile multiplies for dW

    @staticmethod
    def prepare(
        head: Head,
        x: Tensor,
        target_ids: Tensor,
        results: RowResults,
        d_logprobs: Tensor,
        d_entropy: Tensor | None,
    ) -> RowGradients:
        """With an entropy gradient the tile holds both terms with their factors, and the gain is the head's alone."""
        gain = -head.row_factor * (d_logprobs if d_entropy is None else torch.ones_like(d_logprobs))
        dtype = results.log_sum.dtype
        gain_on_tile = head.x.dtype != dtype
        operand = x.to(head.x.dtype) if gain_on_tile else x.to(dtype) * gain[:, None]
        target_tile = torch.expm1(results.logprobs)
        return RowGradients(head, target_ids, target_tile, results, d_logprobs, d_entropy, gain, gain_on_tile, operand)

    def fill(
        self, tile: Tensor, spare: Tensor | None, n0: int, n1: int, v0: int, maximum: Tensor | None = None
    ) -> None:
        """Turn z, or exp(z - maximum) where a maximum is given, into the gradient; `spare` keeps z if it is needed."""
        row_max, log_sum = self.results.row_max[n0:n1, None], self.results.log_sum[n0:n1, None]
        z = None if spare is None else spare.copy_(tile)
        if maximum is None:
            tile.sub_(row_max).exp_().mul_(torch.exp(-log_sum))
        else:
            tile.mul_(torch.exp((maximum[:, None] - row_max) - log_sum))
        index, inside = target_columns(self.target_ids[n0:n1], v0, v0 + tile.shape[1])
        tile.scatter_(1, index, torch.where(inside, self.target_tile[n0:n1, None], tile.gather(1, index)))
        if self.d_entropy is not None:
            # d_entropy p (log p + entropy); p = 0 contributes 0 even where log p is -inf
            tile.mul_(self.d_logprobs[n0:n1, None])
            log_p = (z - row_max).sub_(log_sum).clamp_(min=torch.finfo(z.dtype).min)
            surprise = log_p.exp().mul_(log_p.add_(self.results.entropy[n0:n1, None]))
            tile.add_(surprise.mul_(self.d_entropy[n0:n1, None]))
        if self.head.cap_factor is not None:
            self.head.uncap(tile, z, n0, n1)
        if self.gain_on_tile:
            tile.mul_(self.gain[n0:n1, None])


class HeadGradients:
    """Sums of dX, dW and db, those needed, over tiles of dL/d(x W^T), in the compute dtype.

    The first product into a place writes it and later ones add: nothing is filled with zeros beforehand.
    """

    def __init__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, need: tuple[bool, bool, bool], by_slab: bool
    ) -> None:
        """`by_slab`: all rows of a slab of columns come together, so that a slab of dW may be rounded at its end."""
        self.dtype = compute_dtype(x.dtype)
        self.weight, self.bias = weight, bias
        self.make = torch.empty if x.shape[0] > 0 else torch.zeros  # without rows no product will write
        self.d_x = self.make(x.shape, dtype=self.dtype, device=x.device) if need[0] else None
        dw_dtype = weight.dtype if by_slab else self.dtype
        self.d_weight = self.make(weight.shape, dtype=dw_dtype, device=x.device) if need[1] else None
        self.d_bias = torch.zeros(weight.shape[0], dtype=self.dtype, device=x.device) if need[2] else None

    def open_slab(self, v0: int, v1: int) -> None:
        """Start on columns v0..v1."""
        self.v0, self.v1 = v0, v1
        if self.d_weight is not None:
            view = self.d_weight[v0:v1]
            self.dw_slab = (
                view if view.dtype == self.dtype else self.make(view.shape, dtype=self.dtype, device=view.device)
            )

    def add(self, tile: Tensor, slab: Tensor, operand: Tensor, n0: int, n1: int, gain: Tensor | None = None) -> None:
        """Take rows n0..n1 into account; their gain, if given, is in `operand` already and left out of dX."""
        if self.d_bias is not None:
            by_column = tile.sum(0, dtype=self.dtype) if gain is None else torch.mv(tile.t(), gain)
            self.d_bias[self.v0 : self.v1] += by_column
        tile = tile.to(slab.dtype)
        if self.d_x is not None:
            (mm_into if self.v0 == 0 else mm_add)(self.d_x[n0:n1], tile, slab)
        if self.d_weight is not None:
            (mm_into if n0 == 0 else mm_add)(self.dw_slab, tile.t(), operand)

    def close_slab(self) -> None:
        """Round the slab of dW, if it has to be, once."""
        if self.d_weight is not None and self.dw_slab.dtype != self.d_weight.dtype:
            self.d_weight[self.v0 : self.v1] = self.dw_slab

    def scale_rows(self, n0: int, n1: int, gain: Tensor) -> None:
        """Put the gain that was left out on rows n0..n1 of dX."""
        if self.d_x is not None:
            self.d_x[n0:n1].mul_(gain[:, None])

    def results(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """dX in the compute dtype, for ranks may have to add theirs up first; dW and db in those of their tensors."""
        sums = zip((self.d_weight, self.d_bias), (self.weight, self.bias), strict=True)
        return self.d_x, *(None if total is None else total.to(of.dtype) for total, of in sums)
