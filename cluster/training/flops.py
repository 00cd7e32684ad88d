"""The arithmetic that a loaded model takes, from its shapes; ZeRO-3 may have sharded it."""

from collections import Counter
from typing import Any

from torch import nn

from pipeline.training.flops import Work

_FORWARD, _TO_INPUT, _TO_WEIGHT = 2, 2, 2


def work_of(model: Any) -> Work:
    """What one forward and backward pass of a transformers or peft model takes.

    Every matrix but the embeddings multiplies once a token; of experts only those that a token is sent to. Weights that
    are not trained have no gradient of their own. Attention other than of softmax, such as linear, is not counted.
    """
    config = model.config
    head = model.get_output_embeddings()
    experts, chosen = _experts(config)
    token = 0.0
    for module in model.modules():
        if module is head or isinstance(module, nn.Embedding):
            continue
        for weight in module.parameters(recurse=False):
            shape = getattr(weight, "ds_shape", weight.shape)
            if len(shape) == 2 or (len(shape) == 3 and experts and shape[0] == experts):
                share = chosen / experts if len(shape) == 3 else 1.0
                token += share * shape.numel() * _passes(weight)
    label = float(getattr(head.weight, "ds_shape", head.weight.shape).numel() * _passes(head.weight))
    return Work(token=token, label=label, pairs=_pairs(config))


def _passes(weight: nn.Parameter) -> int:
    return _FORWARD + _TO_INPUT + (_TO_WEIGHT if weight.requires_grad else 0)


def _experts(config: Any) -> tuple[int, int]:
    """Experts of a layer, and those that a token is sent to; 0 and 0 for a dense model."""
    for name in ("num_local_experts", "num_experts", "n_routed_experts"):
        count = getattr(config, name, None)
        if count:
            return int(count), int(config.num_experts_per_tok)
    return 0, 0


def _pairs(config: Any) -> tuple[tuple[int | None, float], ...]:
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = ["sliding_attention" if window else "full_attention"] * config.num_hidden_layers
    windows = {"full_attention": None, "sliding_attention": window}
    layers = Counter(windows[kind] for kind in kinds if kind in windows)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # Scores, and their product with the values; each again for the gradient of either side.
    each = 2 * 2 * 3 * config.num_attention_heads * size
    return tuple((window, float(count * each)) for window, count in layers.items())
