"""Configurations of the recipes' models, for a dry run on a machine that can't read them; never used to train.

Where they are from: hidden, intermediate, layers, heads and vocabulary from the models' config.json on the Hugging Face
Hub as copied by models made from them (Qwen2.5-72B: ssmits/Qwen2.5-95B-Instruct, which adds layers; Qwen2.5-7B:
osllmai-community/Qwen2.5-7B-Instruct) and table 1 of the Qwen2.5 report (2412.15115); Qwen2.5-Math has the same shapes
(2409.12122), with 4,096 positions and a rotary base of 10,000 (huggingface/open-r1 issue 469).
"""

from typing import Any


def _qwen2(hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, vocab: int) -> dict[str, Any]:
    return {
        "model_type": "qwen2",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "tie_word_embeddings": vocab < 152_064,
    }


_SHAPES = {
    "1.5B": _qwen2(1536, 8960, 28, 12, 2, 151_936),
    "7B": _qwen2(3584, 18_944, 28, 28, 4, 152_064),
    "72B": _qwen2(8192, 29_568, 80, 64, 8, 152_064),
}
_MATH = {"max_position_embeddings": 4096, "rope_theta": 10_000.0}
_GENERAL = {"max_position_embeddings": 32_768, "rope_theta": 1_000_000.0}

CONFIGS: dict[str, dict[str, Any]] = {
    **{
        f"Qwen/Qwen2.5-Math-{size}{kind}": shape | _MATH
        for size, shape in _SHAPES.items()
        for kind in ("", "-Instruct")
    },
    **{f"Qwen/Qwen2.5-{size}-Instruct": shape | _GENERAL for size, shape in _SHAPES.items()},
    # As the file inside the package says (cluster.models.SHIPPED).
    "SmolLM2-135M-Instruct": {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49_152,
        "tie_word_embeddings": True,
        "max_position_embeddings": 8192,
        "rope_theta": 100_000.0,
    },
}
