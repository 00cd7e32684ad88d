"""A causal language model that returns its summed loss; logits exist for a chunk of trained positions at a time.

T positions of a rank's part of a window, L trained ones among them, H hidden, V vocabulary
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cluster.training.attention import Documents
from pipeline.pack import IGNORED


class LossModel(nn.Module):
    """The model and its loss in one forward, so that ZeRO-3 sees every weight used."""

    def __init__(self, model: Any, *, chunks: int) -> None:
        super().__init__()
        self.model = model
        self.loss = ChunkedLoss(model.get_output_embeddings(), chunks=chunks)

    def forward(
        self, ids_T: torch.Tensor, targets_T: torch.Tensor, positions_T: torch.Tensor, documents: Documents
    ) -> torch.Tensor:
        """The sum over trained positions of their cross-entropy, float32; targets are the ids that come next."""
        hidden_TH = self.hidden(ids_T, positions_T, documents)
        trained = targets_T != IGNORED
        summed: torch.Tensor = self.loss(hidden_TH[trained], targets_T[trained])
        return summed

    def hidden(self, ids_T: torch.Tensor, positions_T: torch.Tensor, documents: Documents) -> torch.Tensor:
        """The last hidden state, T x H. No attention_mask and no cache: documents are kept apart by their ends."""
        hidden: torch.Tensor = self.model.get_decoder()(
            input_ids=ids_T[None], position_ids=positions_T[None], use_cache=False, documents=documents
        ).last_hidden_state
        return hidden[0]


class ChunkedLoss(nn.Module):
    """Cross-entropy behind the output layer; holds that layer's weight itself, so that ZeRO-3 gathers it once."""

    def __init__(self, head: nn.Linear, *, chunks: int) -> None:
        super().__init__()
        self.weight = head.weight
        self.bias = head.bias
        self._chunks = chunks

    def forward(self, hidden_LH: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        """The summed loss, float32."""
        summed: torch.Tensor = _Loss.apply(hidden_LH, self.weight, self.bias, targets_L, self._chunks)
        return summed


class _Loss(torch.autograd.Function):
    """The loss with its gradients made on the way forward, chunk by chunk: no logits are kept, none made twice.

    d loss / d logits = softmax(logits) - onehot(target); the rest is the output layer's own backward pass.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_LH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_L: torch.Tensor,
        chunks: int,
    ) -> torch.Tensor:
        summed = torch.zeros((), dtype=torch.float32, device=hidden_LH.device)
        grad_hidden = torch.empty_like(hidden_LH) if ctx.needs_input_grad[0] else None
        # Under no_grad a weight still says that it wants a gradient; what it is multiplied with does not.
        wanted = [wants and grad_hidden is not None for wants in ctx.needs_input_grad]
        grad_weight = torch.zeros_like(weight_VH, dtype=torch.float32) if wanted[1] else None
        grad_bias = torch.zeros_like(bias_V, dtype=torch.float32) if wanted[2] else None
        start = 0
        for hidden, targets in zip(hidden_LH.tensor_split(chunks), targets_L.tensor_split(chunks), strict=True):
            if not len(targets):
                continue
            logits = F.linear(hidden, weight_VH, bias_V).float()
            rows = torch.arange(len(targets), device=targets.device)
            top, there = logits.amax(-1), logits[rows, targets]
            # One exponential, in place, serves the loss and its slope.
            powers = logits.sub_(top[:, None]).exp_()
            total = powers.sum(-1)
            summed += (total.log() + top - there).sum()
            if grad_hidden is not None:
                slope = powers.div_(total[:, None])
                slope[rows, targets] -= 1
                low = slope.to(weight_VH.dtype)
                grad_hidden[start : start + len(targets)] = low @ weight_VH
                if grad_weight is not None:
                    grad_weight += low.T @ hidden
                if grad_bias is not None:
                    grad_bias += slope.sum(0)
            start += len(targets)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.dtype = weight_VH.dtype
        return summed

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        made = ctx.saved_tensors
        hidden, weight, bias = (None if each is None else (each * grad).to(ctx.dtype) for each in made)
        return hidden, weight, bias, None, None
