"""The trained model's files: the sharded weights gathered and written as a Hugging Face model."""

import tempfile
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import torch

from pipeline.store import Store


def export(engine: Any, tokenizer: Any, *, store: Store, folder: str, eos_id: int) -> None:
    """Write the gathered weights as a Hugging Face model; every rank must call it, rank 0 writes."""
    state = _gathered(engine)
    if engine.global_rank != 0:
        return
    model = engine.module.model
    eos = {eos_id, *([tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else [])}
    model.generation_config.eos_token_id = sorted(eos) if len(eos) > 1 else eos_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = True
    with tempfile.TemporaryDirectory() as beside:
        model.save_pretrained(beside, state_dict=state)
        tokenizer.save_pretrained(beside)
        for file in sorted(Path(beside).iterdir()):
            _copy(file, store, f"{folder}/{file.name}")


def _gathered(engine: Any) -> dict[str, torch.Tensor]:
    import deepspeed

    state: dict[str, torch.Tensor] = {}
    # One at a time: no rank ever holds the whole model on its device.
    for name, parameter in engine.module.model.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter]):
            if engine.global_rank == 0:
                state[name] = parameter.detach().cpu().clone()
    for name, buffer in engine.module.model.named_buffers():
        if engine.global_rank == 0 and name in engine.module.model.state_dict():
            state[name] = buffer.detach().cpu().clone()
    return state


def _copy(file: Path, store: Store, name: str) -> None:
    fs, base = pafs.FileSystem.from_uri(store.root)
    fs.create_dir(f"{base}/{name.rpartition('/')[0]}", recursive=True)
    pafs.copy_files(str(file), f"{base}/{name}", destination_filesystem=fs)
