"""A model's sizes, its memory in training, and its longer context: against transformers, autograd and DeepSpeed."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from pipeline.errors import Stop
from pipeline.training.architecture import LINEAR, architecture
from pipeline.training.known import CONFIGS
from pipeline.training.memory import GIB, best, choices, estimate, layer_bytes, trained_parameters
from pipeline.training.rope import doubts, extended
from pipeline.training.settings import LoraSettings, RopeSettings, TrainSettings

BIG = "Qwen/Qwen2.5-Math-72B"
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 512,
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", {"head_dim": 32, "num_key_value_heads": 4}),
    ("mistral", {"head_dim": 24}),
    ("qwen2", {}),
    ("qwen2", {"tie_word_embeddings": True}),
    ("qwen3", {"head_dim": 32}),
    ("qwen3", {"head_dim": 32, "attention_bias": True}),
]


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings.model_validate({"phases": [{"name": "one", "generations": ["long"]}], **changes})


def on_meta(config: Any) -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(("family", "changes"), VARIANTS)
def test_parameters_are_those_that_transformers_counts(family: str, changes: dict[str, Any]) -> None:
    config = AutoConfig.for_model(family, **(SMALL | changes))
    counted = sum(parameter.numel() for parameter in on_meta(config).parameters())
    assert architecture(config.to_dict(), model="small").parameters == counted


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_our_table_has_what_transformers_makes_of_it(name: str) -> None:
    values = dict(CONFIGS[name])
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    model = on_meta(config)
    read = architecture(config.to_dict(), model=name)
    assert architecture(CONFIGS[name], model=name) == read
    assert read.parameters == sum(parameter.numel() for parameter in model.parameters())
    billions = {"0.135": "135M", "1.54": "1.5B", "7.62": "7B", "72.7": "72B"}
    assert any(size in name and f"{read.parameters / 1e9:.3g}" == said for said, size in billions.items())


def test_a_layers_matrices_are_those_of_the_model() -> None:
    config = AutoConfig.for_model("qwen3", **SMALL, head_dim=32)
    model = on_meta(config)
    shapes = architecture(config.to_dict(), model="small").linear_shapes
    found = {
        name.rpartition(".")[2]: (part.in_features, part.out_features)
        for name, part in model.named_modules()
        if ".0." in name and isinstance(part, torch.nn.Linear)
    }
    assert shapes == found
    assert set(LINEAR) == set(found)


def test_what_is_no_plain_decoder_is_refused_and_an_unknown_family_is_not_counted() -> None:
    with pytest.raises(Stop, match="mixture of experts"):
        architecture(CONFIGS[BIG] | {"num_experts": 8}, model="moe")
    with pytest.raises(Stop, match=r"no plain causal decoder \(model_type bert, no hidden_size\)"):
        architecture({"model_type": "bert"}, model="bert")
    assert architecture(CONFIGS[BIG] | {"model_type": "other"}, model="x").parameters is None


@pytest.mark.parametrize(("dtype", "width"), [(torch.bfloat16, 2), (torch.float32, 4)])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_layers_activations_are_what_autograd_keeps(family: str, dtype: torch.dtype, width: int) -> None:
    """Two depths are measured, so that all but a layer's own bytes cancels; equal to the byte."""
    tokens = 128
    sizes = SMALL | {"hidden_size": 128, "num_attention_heads": 8, "head_dim": 16}
    kept = []
    for layers in (1, 3):
        config = AutoConfig.for_model(family, **(sizes | {"num_hidden_layers": layers}))
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(dtype)
        kept.append(_saved_bytes(model, tokens))
    counted = layer_bytes(architecture(config.to_dict(), model="small"), width=width)
    assert (kept[1] - kept[0]) / 2 / tokens == counted


def _saved_bytes(model: Any, tokens: int) -> int:
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    places = torch.arange(tokens)[None]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model.model(input_ids=places, position_ids=places, use_cache=False).last_hidden_state
    assert hidden.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("ranks", [8, 16, 32])
def test_states_are_deepspeeds_own_estimate(ranks: int) -> None:
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as deepspeeds

    model = architecture(CONFIGS[BIG], model=BIG)
    assert model.parameters is not None
    for offload, gpu_too in (("none", False), ("optimizer", False), ("all", True)):
        needs = estimate(model, settings(offload=offload, workers=ranks), ranks=ranks)
        host, gpu, layer = deepspeeds(
            model.parameters, 0, 8, ranks // 8, cpu_offload=offload != "none", cpu_offload_params=gpu_too
        )
        assert layer == 0
        assert needs.states == pytest.approx(gpu, rel=1e-6)
        if offload != "none":
            # 16 or 18 bytes for each parameter of a node, and half as much again.
            assert needs.host * 8 == pytest.approx(host, rel=0.01)


def test_the_table_of_72b_on_8_16_and_32_gpus_of_80_gb() -> None:
    model, taken = architecture(CONFIGS[BIG], model=BIG), {}
    for ranks in (8, 16, 32):
        found = best(list(choices(model, settings(), ranks=ranks)))
        taken[ranks] = found and (found.offload, found.sequence_parallel)
    assert taken == {8: None, 16: ("optimizer", 2), 32: ("none", 4)}
    roomy = best(list(choices(model, settings(host_memory_gib=220), ranks=8)))
    assert roomy is not None
    assert (roomy.offload, roomy.sequence_parallel) == ("optimizer", 2)
    # By hand: 72.706e9 parameters of 18 bytes on 32 ranks are 38.1 GiB; 80 layers keep 8,192 x 2 bytes of 8,192 tokens.
    needs = estimate(model, settings(sequence_parallel=4, workers=32), ranks=32)
    assert needs.states / GIB == pytest.approx(38.09, abs=0.01)
    assert needs.kept / GIB == pytest.approx(10.0, abs=0.001)


def test_memory_falls_with_more_ranks_shorter_windows_recomputation_and_lora() -> None:
    model = architecture(CONFIGS[BIG], model=BIG)
    base = estimate(model, settings(), ranks=8).total
    assert estimate(model, settings(), ranks=16).total < base
    assert estimate(model, settings(window=8192), ranks=8).total < base
    assert estimate(model, settings(sequence_parallel=4), ranks=8).total < base
    assert estimate(model, settings(gradient_checkpointing=False), ranks=8).total > 2 * base
    lora = settings(lora={"rank": 16})
    assert estimate(model, lora, ranks=8).states < base / 8
    # 16 x (in + out) of 7 matrices in 80 layers.
    pairs = 2 * 16_384 + 2 * (8192 + 1024) + 3 * (8192 + 29_568)
    assert trained_parameters(model, lora.lora) == 80 * 16 * pairs
    assert trained_parameters(model, LoraSettings(targets=("q_proj",))) == 80 * 16 * 16_384


def _frequencies(config: Any) -> torch.Tensor:
    model = AutoModelForCausalLM.from_config(config)
    found: torch.Tensor = model.model.rotary_emb.inv_freq
    return found


def by_theta(theta: float, size: int = 16) -> list[float]:
    return [theta ** (-2 * n / size) for n in range(size // 2)]


def by_yarn(theta: float, factor: float, original: int, size: int = 16) -> list[float]:
    """YaRN (2309.00071), equations 17 to 22, with its alpha 1 and beta 32 on dimensions as transformers rounds them."""

    def dimension(turns: float) -> float:
        return size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = max(math.floor(dimension(32)), 0), min(math.ceil(dimension(1)), size - 1)
    ramp = [min(max((n - low) / max(high - low, 0.001), 0), 1) for n in range(size // 2)]
    return [one * (1 - share) + one / factor * share for one, share in zip(by_theta(theta, size), ramp, strict=True)]


LONGER: list[tuple[dict[str, Any], Callable[[], list[float]]]] = [
    ({"theta": 300_000}, lambda: by_theta(300_000.0)),
    ({"scaling": {"rope_type": "linear", "factor": 4}}, lambda: [one / 4 for one in by_theta(10_000.0)]),
    ({"scaling": {"rope_type": "yarn", "factor": 8.0}}, lambda: by_yarn(10_000.0, 8.0, 512)),
    ({"theta": 50_000, "scaling": {"type": "yarn", "factor": 8.0}}, lambda: by_yarn(50_000.0, 8.0, 512)),
]


@pytest.mark.parametrize(("asked", "by_hand"), LONGER)
def test_a_longer_context_gives_the_frequencies_reckoned_by_hand(
    asked: dict[str, Any], by_hand: Callable[[], list[float]], tmp_path: Path
) -> None:
    config = AutoConfig.for_model("qwen2", **SMALL, rope_theta=10_000.0)
    before = config.to_dict()
    changed = type(config).from_dict(extended(before, RopeSettings(**asked, positions=4096)))
    assert config.to_dict() == before
    assert changed.max_position_embeddings == 4096
    torch.testing.assert_close(_frequencies(changed), torch.tensor(by_hand()), rtol=1e-5, atol=0)
    # As the exporter leaves it, and anyone opens it.
    AutoModelForCausalLM.from_config(changed).save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config.max_position_embeddings == 4096
    torch.testing.assert_close(again.model.rotary_emb.inv_freq, torch.tensor(by_hand()), rtol=1e-5, atol=0)


def test_an_old_config_file_is_extended_too_and_none_changes_nothing() -> None:
    old = CONFIGS[BIG] | {"rope_scaling": None}
    assert extended(old, None) == old
    changed = extended(old, RopeSettings(theta=300_000, positions=32_768))
    assert changed["rope_parameters"] == {"rope_type": "default", "rope_theta": 300_000.0}
    assert not {"rope_theta", "rope_scaling"} & changed.keys()
    assert transformers.Qwen2Config.from_dict(changed).rope_parameters["rope_theta"] == 300_000.0


def test_a_scaling_that_lacks_a_part_or_is_unknown_is_refused() -> None:
    for scaling, said in (({"rope_type": "yarn"}, "yarn needs factor"), ({"rope_type": "ntk"}, "'ntk' is not known")):
        with pytest.raises(Stop, match=said):
            extended(CONFIGS[BIG], RopeSettings(scaling=scaling, positions=32_768))


def test_doubtful_extensions_are_said() -> None:
    def said(**asked: Any) -> list[str]:
        return doubts(CONFIGS[BIG], RopeSettings(positions=asked.pop("positions", 32_768), **asked))

    assert said(theta=300_000) == []
    assert said(scaling={"rope_type": "yarn", "factor": 8.0}) == []
    assert ["issue 444" in line for line in said(scaling={"rope_type": "linear", "factor": 8})] == [True]
    assert ["set theta or scaling" in line for line in said()] == [True]
    assert ["make it 8 or more" in line for line in said(scaling={"rope_type": "yarn", "factor": 4.0})] == [True]
    assert ["less than the model's own 4096" in line for line in said(theta=300_000, positions=2048)] == [True]
