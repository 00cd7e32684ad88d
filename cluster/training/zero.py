"""DeepSpeed ZeRO-3: its configuration, and a model opened under it."""

from dataclasses import dataclass
from typing import Any

import deepspeed
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.integrations import HfDeepSpeedConfig

from cluster.models import local_path
from cluster.training import attention
from cluster.training.lora import with_additions
from cluster.training.loss import LossModel
from cluster.training.plan import PhasePlan
from pipeline.training.rope import extended
from pipeline.training.settings import RopeSettings, TrainSettings

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}

# Would be compiled on every new CPU machine, for a minute, and is only asked for inference.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A model ready to be trained by this rank, and its tokenizer."""

    engine: Any
    tokenizer: Any

    @property
    def device(self) -> torch.device:
        """Where its inputs must be."""
        device: torch.device = self.engine.device
        return device

    @property
    def pad_id(self) -> int:
        """The id that fills up windows; never trained on, and never seen by a document."""
        pad_id: int | None = self.tokenizer.pad_token_id
        return pad_id if pad_id is not None else int(self.tokenizer.eos_token_id)


def zero3(settings: TrainSettings, *, accumulation: int, universal: bool = False) -> dict[str, Any]:
    """The DeepSpeed configuration; a micro-step is one window of a data rank."""
    offloaded = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    kept = {"none": (), "optimizer": ("offload_optimizer",), "all": ("offload_optimizer", "offload_param")}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": settings.clip,
        "bf16": {"enabled": settings.dtype == "bfloat16"},
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": torch.cuda.is_available(),
            "contiguous_gradients": True,
            "reduce_bucket_size": 50_000_000,
            "stage3_prefetch_bucket_size": 50_000_000,
            "stage3_param_persistence_threshold": 100_000,
            **dict.fromkeys(kept[settings.offload], offloaded),
        },
        # torch's AdamW: DeepSpeed's own needs a C++ or CUDA compiler on every node.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        # By itself it takes the model's type, and adding up micro-steps in bfloat16 loses small gradients.
        "data_types": {"grad_accum_dtype": "fp32"},
        "checkpoint": {"load_universal": universal},
        "steps_per_print": 2**31,
        "wall_clock_breakdown": False,
    }


def opened(plan: PhasePlan, *, accumulation: int, universal: bool = False) -> Opened:
    """The phase's model, sharded over all ranks as it is read.

    `universal` says that what is loaded next is a universal checkpoint.
    """
    settings = plan.settings
    path = local_path(plan.model)
    ds_config = zero3(settings, accumulation=accumulation, universal=universal)
    # Alive while the model is read: it makes transformers shard each weight as it is read.
    sharding = HfDeepSpeedConfig(ds_config)
    model = AutoModelForCausalLM.from_pretrained(
        path,
        config=_config(path, settings.rope if plan.extends else None),
        dtype=DTYPES[settings.dtype],
        attn_implementation=attention.NAME,
    )
    del sharding
    if settings.lora is not None:
        model = with_additions(model, settings.lora, seed=plan.seed)
    loss_model = trainable(model, settings)
    optimizer = torch.optim.AdamW(
        decayed(loss_model, weight_decay=settings.weight_decay),
        lr=settings.peak_lr(plan.phase),
        betas=(0.9, 0.95),
        eps=1e-8,
        fused=True,
    )
    engine, *_ = deepspeed.initialize(model=loss_model, optimizer=optimizer, config=ds_config)
    return Opened(engine, AutoTokenizer.from_pretrained(path))


def _config(path: str, rope: RopeSettings | None) -> Any:
    config = AutoConfig.from_pretrained(path)
    return type(config).from_dict(extended(config.to_dict(), rope)) if rope is not None else config


def trainable(model: Any, settings: TrainSettings) -> LossModel:
    """The model with its loss, ready for training steps."""
    model.config.use_cache = False
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    # The same on all ranks, whatever they train on.
    positions = settings.window // settings.sequence_parallel
    return LossModel(model, chunks=-(-positions // settings.loss_chunk))


def decayed(model: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: weight decay on matrices, none on norms and biases."""
    # A sharded parameter is flat; DeepSpeed keeps its real shape beside it.
    matrix, vector = [], []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (matrix if len(getattr(parameter, "ds_shape", parameter.shape)) > 1 else vector).append(parameter)
    groups = [{"params": matrix, "weight_decay": weight_decay}, {"params": vector, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
