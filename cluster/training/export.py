"""The export of a trained model: a folder that opens with transformers and vLLM as it is.

Weights are gathered from all ranks one by one and written by rank 0 as they come, so that it holds one at a time.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save

from cluster.training.shards import INDEX, Shard, index, split, write
from cluster.training.weights import adapter_of, base_of, values, weights_of
from pipeline.errors import Stop
from pipeline.store import Store

_SHARD_BYTES = 5_000_000_000
# The recipe's word for each of transformers' settings of a draw.
_DRAWN = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "max_tokens": "max_new_tokens"}
_ONLY_DRAWN = ("temperature", "top_p", "top_k", "min_p", "typical_p")


def export(
    engine: Any,
    tokenizer: Any,
    *,
    store: Store,
    folder: str,
    eos_id: int,
    sampling: Mapping[str, Any] | None = None,
    base: str | None = None,
    shard_bytes: int = _SHARD_BYTES,
) -> None:
    """Write the trained model into a folder of the store; low-rank additions are merged, and kept in adapter/ too.

    `engine.module.model` is the transformers or peft model. `sampling` is how the recipe draws (temperature, top_p,
    top_k, max_tokens); none keeps the base model's own. `base` is the name of the base model that adapter/ tells.
    Every rank must call it; rank 0 writes. What rank 0 can't write raises Stop on every rank.
    """
    model, rank = engine.module.model, dist.get_rank() if dist.is_initialized() else 0
    shards = split(weights_of(model), shard_bytes=shard_bytes)
    _first(rank, partial(_clear, store, folder, {shard.name for shard in shards}))
    for shard in shards:
        tensors = _tensors(model, shard, kept=rank == 0)
        failed = _tried(partial(write, store, f"{folder}/{shard.name}", shard.pieces, tensors)) if rank == 0 else ""
        for _ in tensors:
            # The other ranks gather what could not be written, and would wait for this one.
            pass
        _agree(failed)
    adapter = adapter_of(model, kept=rank == 0) if hasattr(model, "peft_config") else {}

    def beside() -> None:
        if len(shards) > 1:
            store.write_bytes(f"{folder}/{INDEX}", index(shards))
        if adapter:
            _write_adapter(store, f"{folder}/adapter", model, adapter, base)
        _write_settings(store, folder, base_of(model), tokenizer, eos_ids(tokenizer, eos_id), sampling)

    # Nobody leaves before rank 0 has written all of it: Ray would take the group down around it.
    _first(rank, beside)


def eos_ids(tokenizer: Any, eos_id: int) -> list[int]:
    """The tokens that end a reply: the end of a turn, and the tokenizer's end of a text."""
    return sorted({eos_id, *([tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else [])})


def generation_config(base: Any, tokenizer: Any, eos: list[int], sampling: Mapping[str, Any] | None) -> Any:
    """transformers' generation settings: what ends a reply, what pads, and how the recipe draws."""
    from transformers import GenerationConfig

    if sampling is None:
        config = copy.deepcopy(base.generation_config)
        config.do_sample = config.do_sample or any(getattr(config, name) is not None for name in _ONLY_DRAWN)
    else:
        told = {_DRAWN[name]: value for name, value in sampling.items() if name in _DRAWN and value is not None}
        config = GenerationConfig(**_consistent(told), bos_token_id=base.generation_config.bos_token_id)
    config.eos_token_id = eos if len(eos) > 1 else eos[0]
    config.pad_token_id = tokenizer.pad_token_id
    return config


def _consistent(told: dict[str, Any]) -> dict[str, Any]:
    """The settings of a draw; of a greedy one only those that mean something, for transformers refuses the others."""
    if told.get("temperature") != 0:
        return {**told, "do_sample": True}
    return {"do_sample": False, **{name: value for name, value in told.items() if name not in _ONLY_DRAWN}}


def _tensors(model: Any, shard: Shard, *, kept: bool) -> Iterator[torch.Tensor]:
    for weight in shard.weights:
        yield from values(model, weight, kept=kept)


def _clear(store: Store, folder: str, planned: set[str]) -> None:
    """Delete the weights of an earlier export that had other files: readers would take them for these."""
    for name in {*store.names(folder, ".safetensors"), *store.names(folder, INDEX)} - planned:
        store.delete(f"{folder}/{name}")


def _write_settings(
    store: Store, folder: str, base: Any, tokenizer: Any, eos: list[int], sampling: Mapping[str, Any] | None
) -> None:
    config = copy.deepcopy(base.config)
    config.use_cache = True
    config.dtype = str(base.dtype).removeprefix("torch.")
    config.architectures = [type(base).__name__]
    with tempfile.TemporaryDirectory() as name:
        config.save_pretrained(name)
        generation_config(base, tokenizer, eos, sampling).save_pretrained(name)
        tokenizer.save_pretrained(name)
        _copy_in(store, folder, Path(name))


def _write_adapter(store: Store, folder: str, model: Any, state: dict[str, torch.Tensor], base: str | None) -> None:
    config = copy.deepcopy(model.peft_config[model.active_adapter])
    config.inference_mode = True
    config.base_model_name_or_path = base or config.base_model_name_or_path
    with tempfile.TemporaryDirectory() as name:
        config.save_pretrained(name)
        _copy_in(store, folder, Path(name))
    whole = {key: tensor.contiguous() for key, tensor in state.items()}
    store.write_bytes(f"{folder}/adapter_model.safetensors", save(whole, metadata={"format": "pt"}))


def _copy_in(store: Store, folder: str, beside: Path) -> None:
    for file in sorted(beside.rglob("*")):
        if file.is_file():
            store.write_bytes(f"{folder}/{file.relative_to(beside).as_posix()}", file.read_bytes())


def _first(rank: int, write_it: Callable[[], None]) -> None:
    """Have rank 0 do something while the others wait."""
    _agree(_tried(write_it) if rank == 0 else "")


def _tried(write_it: Callable[[], None]) -> str:
    """Why it can't be written; empty if it is."""
    try:
        write_it()
    except Stop as stop:
        return str(stop)
    except OSError as error:
        return f"can't write the model: {error.strerror or error}"
    return ""


def _agree(failed: str) -> None:
    """Raise Stop on every rank if rank 0 has failed; one that ended alone would leave the others in a collective."""
    said = [failed]
    if dist.is_initialized():
        dist.broadcast_object_list(said, src=0)
    if said[0]:
        raise Stop(said[0])
