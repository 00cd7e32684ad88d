"""What a model is made of, read from its configuration: the sizes that memory, context and cost depend on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import Stop

_STATES = ("mamba_", "conv_", "linear_conv", "linear_num", "ssm_")
"""How the names begin of what configurations say of layers with a state."""
_NOT_DONE = ("attn_logit_softcapping", "attention_dropout")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a decoder layer, by the last parts of their names, in the families that are counted here."""


@dataclass(frozen=True, slots=True)
class _Family:
    """What a decoder layer has besides its seven matrices and two norms; a bias that is None is in the config."""

    qkv_bias: bool | None = False
    out_bias: bool | None = False
    mlp_bias: bool | None = False
    head_norms: bool = False


_FAMILIES = {
    "llama": _Family(qkv_bias=None, out_bias=None, mlp_bias=None),
    "mistral": _Family(),
    "qwen2": _Family(qkv_bias=True),
    "qwen3": _Family(qkv_bias=None, out_bias=None, head_norms=True),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder-only model. Sizes are counts of numbers; `positions` is max_position_embeddings, tokens.

    `parameters` is None for a family whose layers are not known here; tied embeddings count once.
    """

    family: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    positions: int
    theta: float
    rope_type: str
    head_norms: bool
    layer_parameters: int | None
    parameters: int | None

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, and of the head."""
        return self.vocab * self.hidden

    @property
    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """In and out of a layer's matrices."""
        heads, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        into = {"q_proj": heads, "k_proj": kv, "v_proj": kv, "gate_proj": self.intermediate}
        shapes = {name: (self.hidden, out) for name, out in (into | {"up_proj": self.intermediate}).items()}
        return shapes | {"o_proj": (heads, self.hidden), "down_proj": (self.intermediate, self.hidden)}


def architecture(config: Mapping[str, Any], *, model: str) -> Architecture:
    """The sizes in a transformers configuration (config.to_dict(), or config.json).

    Raises Stop for mixtures of experts and for what is no plain decoder: they can't be trained here.
    """
    _plain_decoder(config, model)
    _attends_only(config, model)
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    sizes = {
        "hidden": hidden,
        "intermediate": int(config["intermediate_size"]),
        "heads": heads,
        "kv_heads": int(config.get("num_key_value_heads") or heads),
        "head_dim": int(config.get("head_dim") or hidden // heads),
    }
    family, layers = str(config.get("model_type", "?")), int(config["num_hidden_layers"])
    vocab, tied = int(config["vocab_size"]), bool(config.get("tie_word_embeddings", False))
    layer = _layer_parameters(config, family=family, **sizes)
    rope = rope_parameters(config)
    return Architecture(
        family=family,
        layers=layers,
        vocab=vocab,
        tied=tied,
        positions=int(config["max_position_embeddings"]),
        theta=float(rope.get("rope_theta") or 10_000.0),
        rope_type=str(rope.get("rope_type") or rope.get("type") or "default"),
        head_norms=family in _FAMILIES and _FAMILIES[family].head_norms,
        layer_parameters=layer,
        parameters=None if layer is None else layers * layer + hidden + vocab * hidden * (1 if tied else 2),
        **sizes,
    )


def rope_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary embedding's parameters as transformers 5 names them, also of a configuration of before."""
    given = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if "type" in given:
        given.setdefault("rope_type", given.pop("type"))
    if config.get("rope_theta") is not None:
        given.setdefault("rope_theta", config["rope_theta"])
    return given


def _plain_decoder(config: Mapping[str, Any], model: str) -> None:
    if any(config.get(name) for name in _EXPERTS):
        fix = "take a dense model"
        raise Stop(f"model {model} is a mixture of experts, which ZeRO-3 training here is not made for: {fix}")
    needed = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    missing = [name for name in (*needed, "max_position_embeddings") if not isinstance(config.get(name), int)]
    if missing:
        kind = f"(model_type {config.get('model_type', 'unknown')}, no {missing[0]})"
        raise Stop(f"model {model} is no plain causal decoder {kind}: take a text-only Llama, Mistral or Qwen")


def _attends_only(config: Mapping[str, Any], model: str) -> None:
    """Refuse what carries a state over the borders of packed documents, or an attention that is not done here."""
    kinds = set(config.get("layer_types") or ()) - {"full_attention", "sliding_attention"}
    states = [name for name in config if name.startswith(_STATES) and config[name]]
    if kinds or states:
        what = sorted(kinds)[0] if kinds else sorted(states)[0]
        raise Stop(f"model {model} has layers that are no attention ({what}): packed documents would see each other")
    for name in _NOT_DONE:
        if config.get(name):
            raise Stop(f"model {model} has {name} in its attention, which training can't do: take another model")


def _layer_parameters(
    config: Mapping[str, Any], *, family: str, hidden: int, intermediate: int, heads: int, kv_heads: int, head_dim: int
) -> int | None:
    known = _FAMILIES.get(family)
    if known is None:
        return None
    attention_bias, mlp_bias = bool(config.get("attention_bias")), bool(config.get("mlp_bias"))
    queries, keys = heads * head_dim, kv_heads * head_dim
    weights = hidden * (2 * queries + 2 * keys + 3 * intermediate) + 2 * hidden
    if attention_bias if known.qkv_bias is None else known.qkv_bias:
        weights += queries + 2 * keys
    if attention_bias if known.out_bias is None else known.out_bias:
        weights += hidden
    if mlp_bias if known.mlp_bias is None else known.mlp_bias:
        weights += 2 * intermediate + hidden
    return weights + (2 * head_dim if known.head_norms else 0)
