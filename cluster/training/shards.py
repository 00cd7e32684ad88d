"""safetensors files, written as their tensors come: https://github.com/huggingface/safetensors#format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson
import torch

from cluster.training.weights import Piece, Weight
from pipeline.errors import Stop
from pipeline.store import Store

INDEX = "model.safetensors.index.json"
_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True, slots=True)
class Shard:
    """One file and the weights in it, in its order."""

    name: str
    weights: tuple[Weight, ...]

    @property
    def pieces(self) -> list[Piece]:
        """Its tensors, in its order."""
        return [piece for weight in self.weights for piece in weight.pieces]


def split(weights: Sequence[Weight], *, shard_bytes: int) -> list[Shard]:
    """Files of at most `shard_bytes` of tensors each, more only where one weight has more; named as on the Hub."""
    held: list[list[Weight]] = [[]]
    size = 0
    for weight in weights:
        if held[-1] and size + weight.size_bytes > shard_bytes:
            held.append([])
            size = 0
        held[-1].append(weight)
        size += weight.size_bytes
    # The widest first: then every tensor begins at a multiple of its items' size.
    ordered = [tuple(sorted(part, key=lambda weight: -weight.tensor.dtype.itemsize)) for part in held]
    if len(ordered) == 1:
        return [Shard("model.safetensors", ordered[0])]
    return [Shard(f"model-{n:05}-of-{len(ordered):05}.safetensors", part) for n, part in enumerate(ordered, start=1)]


def write(store: Store, name: str, pieces: Sequence[Piece], tensors: Iterable[torch.Tensor]) -> None:
    """Write a file, whole or not at all, holding one tensor at a time. Raises Stop where it can't be."""
    with store.writing_bytes(name) as sink:
        sink.write(_head(pieces))
        for piece, tensor in zip(pieces, tensors, strict=True):
            assert (tuple(tensor.shape), tensor.dtype) == (piece.shape, piece.dtype), f"{piece} became {tensor.shape}"
            sink.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def index(shards: Sequence[Shard]) -> bytes:
    """The file that says which tensor lies where."""
    pieces = [(piece, shard.name) for shard in shards for piece in shard.pieces]
    total = {
        "total_parameters": sum(torch.Size(piece.shape).numel() for piece, _ in pieces),
        "total_size": sum(piece.size_bytes for piece, _ in pieces),
    }
    told = {"metadata": total, "weight_map": {piece.name: shard for piece, shard in pieces}}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def _head(pieces: Sequence[Piece]) -> bytes:
    head: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for piece in pieces:
        if piece.dtype not in _TYPES:
            raise Stop(f"{piece.name} can't be exported: safetensors files have no type for {piece.dtype}")
        end = start + piece.size_bytes
        head[piece.name] = {"dtype": _TYPES[piece.dtype], "shape": piece.shape, "data_offsets": [start, end]}
        start = end
    text = orjson.dumps(head)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
