"""Attention over a window of packed documents, each of which sees only itself; across ranks where they share a window.

The scaled dot product is taken document by document, causal, without a mask: its cost grows with each document's
length squared, not the window's, and no (T x T) mask exists. Where ranks share a window (Ulysses, 2309.14509), an
all-to-all trades positions for heads before it and back after it, so the same code sees whole documents.

T positions of the window, S of them on this rank, Q query and K key heads, D a head's size
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from transformers import AttentionInterface

from pipeline.errors import Stop

NAME = "longthought_documents"
_UNKNOWN = ("softcap", "s_aux")


@dataclass(frozen=True, slots=True)
class Documents:
    """Where the documents of a whole window end, and the ranks that share it (none: this one has all of it)."""

    ends: tuple[int, ...]
    group: Any = None
    starts: torch.Tensor | None = None
    """0 and the ends, int32, on the device: takes flash_attn's kernel for packed documents instead of torch's own."""

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Each document's first position and the one behind its last."""
        return list(zip((0, *self.ends[:-1]), self.ends, strict=True))


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    documents: Documents,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function: heads first in (1 x Q x S x D), positions first out (1 x S x Q x D)."""
    asked = [name for name in _UNKNOWN if others.get(name) is not None]
    if asked or attention_mask is not None or dropout:
        raise Stop(f"this model's attention has {', '.join(asked) or 'a mask or dropout'}, which training can't do")
    if documents.group is not None:
        query, key, value = (_heads_apart(each, documents.group, query.shape[1]) for each in (query, key, value))
    kernel = _each if documents.starts is None else _flash
    out = kernel(query, key, value, documents, scaling, sliding_window)
    if documents.group is not None:
        out = _positions_apart(out, documents.group)
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, attend)


def _each(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: Documents,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    seen = [
        _one(*(each[:, :, start:end] for each in (query, key, value)), scaling, sliding_window)
        for start, end in documents.spans
    ]
    return torch.cat(seen, dim=2) if len(seen) > 1 else seen[0]


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: Documents,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    from flash_attn import flash_attn_varlen_func

    longest = max(end - start for start, end in documents.spans)
    out = flash_attn_varlen_func(
        *(each[0].transpose(0, 1) for each in (query, key, value)),
        documents.starts,
        documents.starts,
        longest,
        longest,
        softmax_scale=scaling,
        causal=True,
        window_size=(-1, -1) if sliding_window is None else (sliding_window - 1, 0),
    )
    return out.transpose(0, 1)[None]


def _one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, sliding_window: int | None
) -> torch.Tensor:
    grouped = query.shape[1] != key.shape[1]
    length = query.shape[2]
    if sliding_window is None or length <= sliding_window:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped)
    places = torch.arange(length, device=query.device)
    back = places[:, None] - places[None, :]
    mask = (back >= 0) & (back < sliding_window)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling, enable_gqa=grouped)


def _heads_apart(heads: torch.Tensor, group: Any, wanted: int) -> torch.Tensor:
    """(1 x Q x S x D) of this rank's positions to (1 x Q/n x T x D) of its heads."""
    ranks = dist.get_world_size(group)
    if heads.shape[1] % ranks:
        # Fewer key heads than ranks: each query head takes its own copy.
        heads = heads.repeat_interleave(wanted // heads.shape[1], dim=1)
    _, count, length, size = heads.shape
    sent = heads.reshape(ranks, count // ranks, length, size)
    got = _AllToAll.apply(sent.contiguous(), group)
    return got.transpose(0, 1).reshape(1, count // ranks, ranks * length, size)


def _positions_apart(heads: torch.Tensor, group: Any) -> torch.Tensor:
    """The way back: (1 x Q/n x T x D) to (1 x Q x S x D)."""
    ranks = dist.get_world_size(group)
    _, count, length, size = heads.shape
    sent = heads.reshape(count, ranks, length // ranks, size).transpose(0, 1)
    got = _AllToAll.apply(sent.contiguous(), group)
    return got.reshape(1, ranks * count, length // ranks, size)


class _AllToAll(torch.autograd.Function):
    """Piece n of the first axis goes to rank n; its gradient comes back the same way."""

    @staticmethod
    def forward(ctx: Any, sent: torch.Tensor, group: Any) -> torch.Tensor:  # type: ignore[override]
        ctx.group = group
        got = torch.empty_like(sent)
        dist.all_to_all_single(got, sent, group=group)
        return got

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        # The gradient may lie in memory in another order, which empty_like would keep.
        sent = grad.contiguous()
        back = torch.empty_like(sent)
        dist.all_to_all_single(back, sent, group=ctx.group)
        return back, None
