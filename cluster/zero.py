"""DeepSpeed ZeRO-3: its configuration, the model wrapped with its loss, and the export of the sharded weights.

B windows, T positions, L trained positions, H hidden, V vocabulary
"""

import tempfile
from pathlib import Path
from typing import Any, Literal

import pyarrow.fs as pafs
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from pipeline.pack import IGNORED
from pipeline.store import Store


def zero3(*, dtype: Literal["bfloat16", "float32"], accumulation: int, clip: float) -> dict[str, Any]:
    """The DeepSpeed configuration; one window a rank and micro-step."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": clip,
        "bf16": {"enabled": dtype == "bfloat16"},
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": torch.cuda.is_available(),
            "contiguous_gradients": True,
            "reduce_bucket_size": 50_000_000,
            "stage3_prefetch_bucket_size": 50_000_000,
            "stage3_param_persistence_threshold": 100_000,
        },
        # torch's AdamW: DeepSpeed's own needs a C++ or CUDA compiler on every node.
        "zero_allow_untested_optimizer": True,
        # By itself it takes the model's type, and adding up micro-steps in bfloat16 loses small gradients.
        "data_types": {"grad_accum_dtype": "fp32"},
        "steps_per_print": 2**31,
        "wall_clock_breakdown": False,
    }


class LossModel(nn.Module):
    """A causal language model whose forward returns the summed loss of a window, so that ZeRO-3 sees every weight used.

    Logits exist only for a chunk of trained positions at a time: the whole window's (T x V) never do.
    """

    def __init__(self, model: Any, *, chunks: int) -> None:
        super().__init__()
        self.model = model
        # The same on all ranks, whatever they train on: each chunk gathers the head's weights, which is a collective.
        self._chunks = chunks

    def forward(self, ids_BT: torch.Tensor, labels_BT: torch.Tensor, positions_BT: torch.Tensor) -> torch.Tensor:
        """The sum over trained tokens of their cross-entropy, float32."""
        # No attention_mask and no cache: only then does transformers keep packed documents apart by position_ids.
        hidden_BTH = self.model.get_decoder()(
            input_ids=ids_BT, position_ids=positions_BT, use_cache=False
        ).last_hidden_state
        targets_BT = labels_BT[:, 1:]
        trained = targets_BT != IGNORED
        hidden_LH, targets_L = hidden_BTH[:, :-1][trained], targets_BT[trained]
        pieces = zip(hidden_LH.tensor_split(self._chunks), targets_L.tensor_split(self._chunks), strict=True)
        losses = [checkpoint(self._chunk_loss, hidden, targets, use_reentrant=False) for hidden, targets in pieces]
        return torch.stack(losses).sum()

    def _chunk_loss(self, hidden_LH: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        logits_LV = self.model.get_output_embeddings()(hidden_LH).float()
        return F.cross_entropy(logits_LV, targets_L, reduction="sum")


def decayed(model: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: weight decay on matrices, none on norms and biases."""
    # A sharded parameter is flat; DeepSpeed keeps its real shape beside it.
    matrix, vector = [], []
    for parameter in model.parameters():
        (matrix if len(getattr(parameter, "ds_shape", parameter.shape)) > 1 else vector).append(parameter)
    groups = [{"params": matrix, "weight_decay": weight_decay}, {"params": vector, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


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
