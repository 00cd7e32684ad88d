"""What of a model goes to disk: names and shapes as files have them, and each weight's whole value, additions merged.

In memory a weight may be sharded over the ranks (ZeRO-3), lie beside low-rank additions (peft), be one of several names
of the same tensor, or have another name and shape than in files (transformers' weight conversions).
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.errors import Stop

_ADDITION = re.compile(r"\.lora_(?:A|B)\.")


@dataclass(frozen=True, slots=True)
class Piece:
    """One tensor of a file."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size_bytes(self) -> int:
        """Its bytes in the file."""
        return self.dtype.itemsize * int(torch.Size(self.shape).numel())


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of the model in memory, and what it becomes in files."""

    name: str
    tensor: torch.Tensor
    addition: Any = None
    """peft's layer whose low-rank addition is merged into it."""
    pieces: tuple[Piece, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of its pieces."""
        return sum(piece.size_bytes for piece in self.pieces)


def base_of(model: Any) -> Any:
    """The transformers model itself, which peft may have wrapped."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def weights_of(model: Any) -> list[Weight]:
    """All that is written of a model, in its own order; the same on every rank.

    Raises Stop for a model whose files can't be made weight by weight.
    """
    base = base_of(model)
    additions = _additions(base) if hasattr(model, "peft_config") else {}
    found = [_with_pieces(base, weight) for weight in _once(base, additions)]
    alone = {piece.name: piece.shape for weight in found for piece in weight.pieces}
    whole = _on_disk(base, {weight.name: _empty(weight.tensor) for weight in found})
    if alone != {name: tuple(tensor.shape) for name, tensor in whole.items()}:
        raise Stop(
            f"{type(base).__name__} can't be exported: its files join several of its weights into one, "
            "which is not done for sharded weights"
        )
    return found


def values(model: Any, weight: Weight, *, kept: bool) -> Iterator[torch.Tensor]:
    """A weight's pieces, whole, in the host's memory; every rank must go through it, and has them only if `kept`."""
    beside = _pair(weight.addition) if weight.addition is not None else ()
    with _gathered([weight.tensor, *beside]):
        value = _merged(weight).to("cpu", copy=True) if kept else None
    if value is not None:
        made = _on_disk(base_of(model), {weight.name: value})
        for piece in weight.pieces:
            yield made[piece.name]


def adapter_of(model: Any, *, kept: bool) -> dict[str, torch.Tensor]:
    """The low-rank additions by peft's own names; every rank must call it, and has them only if `kept`."""
    from peft import get_peft_model_state_dict

    state: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        if _ADDITION.search(name):
            with _gathered([parameter]):
                if kept:
                    state[name] = parameter.detach().to("cpu", copy=True)
    # What it would look up about the base model's vocabulary asks the Hub.
    return get_peft_model_state_dict(model, state_dict=state, save_embedding_layers=False) if kept else {}


def _once(base: Any, additions: Mapping[str, Any]) -> Iterator[Weight]:
    """Each tensor under the one name that files give it."""
    held = dict(base.named_parameters(remove_duplicate=False)) | dict(base.named_buffers(remove_duplicate=False))
    names: dict[int, list[str]] = {}
    for name in base.state_dict(keep_vars=True):
        if not _ADDITION.search(name):
            names.setdefault(id(held[name]), []).append(name)
    tied, left_out = getattr(base, "all_tied_weights_keys", {}), base._keys_to_ignore_on_save or ()
    for same in names.values():
        inside = next((name for name in same if name not in tied), same[0])
        layer = additions.get(inside.removesuffix(".base_layer.weight"))
        if layer is not None and len(same) > 1:
            raise Stop(f"the low-rank addition of {inside} can't be merged: the weight is also {same[1]}")
        name = inside.replace(".base_layer.", ".")
        if name not in left_out:
            yield Weight(name, held[inside], layer)


def _additions(base: Any) -> dict[str, Any]:
    """peft's layers by their name in the model. Raises Stop for any kind that is more than W + scale * B @ A."""
    from peft.tuners.lora import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import AuxiliaryTrainingWrapper

    found = {}
    for name, module in base.named_modules():
        if not isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper):
            continue
        simple = isinstance(module, Linear) and len(module.lora_A) == 1 and not module.merged
        if not simple or any(module.lora_bias.values()) or module.lora_variant:
            raise Stop(f"the addition to {name} can't be merged: only plain low-rank additions to linear layers can")
        found[name] = module
    return found


def _with_pieces(base: Any, weight: Weight) -> Weight:
    try:
        made = _on_disk(base, {weight.name: _empty(weight.tensor)})
    except (LookupError, RuntimeError, ValueError, TypeError, AttributeError):
        # A conversion that lacks its other weights; what comes of all of them then shows that it does.
        made = {}
    pieces = tuple(Piece(name, tuple(tensor.shape), tensor.dtype) for name, tensor in made.items())
    return Weight(weight.name, weight.tensor, weight.addition, pieces)


def _on_disk(base: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    from transformers.core_model_loading import revert_weight_conversion

    made: dict[str, torch.Tensor] = revert_weight_conversion(base, state)
    return made


def _empty(tensor: torch.Tensor) -> torch.Tensor:
    # A sharded parameter is flat; DeepSpeed keeps its real shape beside it.
    return torch.empty(getattr(tensor, "ds_shape", tensor.shape), dtype=tensor.dtype, device="meta")


def _pair(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors A and B of a layer's one addition."""
    (name,) = layer.lora_A
    return layer.lora_A[name].weight, layer.lora_B[name].weight


def _merged(weight: Weight) -> torch.Tensor:
    """W + scale * B @ A (Hu et al., 2106.09685), reckoned in float32 and rounded once."""
    value = weight.tensor.detach()
    if weight.addition is None:
        return value
    (name,) = weight.addition.lora_A
    a, b = (factor.detach().float() for factor in _pair(weight.addition))
    added = (b @ a) * weight.addition.scaling[name]
    return (value.float() + (added.T if weight.addition.fan_in_fan_out else added)).to(value.dtype)


@contextlib.contextmanager
def _gathered(tensors: Sequence[torch.Tensor]) -> Iterator[None]:
    """Inside, the tensors are whole on every rank: a collective where they are sharded."""
    if not any(hasattr(tensor, "ds_id") for tensor in tensors):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters([tensor for tensor in tensors if hasattr(tensor, "ds_id")]):
        yield
