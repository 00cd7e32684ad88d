"""Low-rank additions to a model's linear layers, by peft; the base weights stay as they are."""

from typing import Any

import torch

from pipeline.errors import Stop
from pipeline.training.settings import LoraSettings


def with_additions(model: Any, settings: LoraSettings, *, seed: int) -> Any:
    """The model with an addition to each target, the same on every rank. Raises Stop when no layer is a target."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets) or "all-linear",
    )
    # Additions are drawn, and each rank draws its own.
    torch.manual_seed(seed)
    try:
        # In the model's own type: ZeRO-3 gathers weights of one type, and keeps float32 copies itself.
        return get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        said = str(error).splitlines()[0][:200]
        raise Stop(f"train.lora.targets={list(settings.targets)} fits no layer of this model: {said}") from error
