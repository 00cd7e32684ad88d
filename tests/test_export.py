"""The export of a model in one process: what transformers, safetensors and peft read back."""

import contextlib
import copy
import gc
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import tiny_model

torch = pytest.importorskip("torch")
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from safetensors import safe_open  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.core_model_loading import Concatenate, WeightConverter  # noqa: E402

from cluster.training.export import export  # noqa: E402
from pipeline.errors import Stop  # noqa: E402
from pipeline.store import Store  # noqa: E402

SAMPLING = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 4096}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def exported(model: Any, tokenizer: Path, folder: Path, **changes: Any) -> Path:
    engine = SimpleNamespace(module=SimpleNamespace(model=model))
    told = {"store": Store(str(folder)), "folder": "model", "eos_id": 3, "sampling": SAMPLING}
    export(engine, AutoTokenizer.from_pretrained(tokenizer), **{**told, **changes})
    return folder / "model"


def tied_qwen() -> Any:
    torch.manual_seed(1)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=260,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "yarn", "factor": 4.0, "rope_theta": 300000.0},
        )
    )


def mixture() -> Any:
    torch.manual_seed(2)
    config = MixtralConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
    )
    return MixtralForCausalLM(config).to(torch.bfloat16)


def same_weights(one: Any, other: Any) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert len(ours) > 10
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name


def names_in(folder: Path) -> dict[str, list[str]]:
    """Which tensors lie in which file, as the safetensors library sees them."""
    held = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"format": "pt"}
            held[path.name] = sorted(file.keys())
    return held


@pytest.mark.parametrize("make", [tied_qwen, mixture])
@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 40_000])
def test_transformers_reads_back_what_was_in_memory(base: Path, tmp_path: Path, make: Any, shard_bytes: int) -> None:
    model = make()
    folder = exported(model, base, tmp_path, shard_bytes=shard_bytes)
    opened, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype="auto")
    assert not any(told.values())
    same_weights(opened, model)
    model.save_pretrained(tmp_path / "theirs")
    ours, theirs = names_in(folder), names_in(tmp_path / "theirs")
    assert sorted(chain.from_iterable(ours.values())) == sorted(chain.from_iterable(theirs.values()))
    if shard_bytes < 100_000:
        assert list(ours) == [f"model-{n:05}-of-{len(ours):05}.safetensors" for n in range(1, len(ours) + 1)]
        assert len(ours) > 1
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        assert index["weight_map"] == {name: file for file, names in ours.items() for name in names}
        assert all((folder / file).stat().st_size < shard_bytes + 10_000 for file in ours)
    else:
        assert list(ours) == ["model.safetensors"]


def test_the_settings_are_those_of_the_model_and_the_recipe(base: Path, tmp_path: Path) -> None:
    model = tied_qwen().to(torch.bfloat16)
    model.config.use_cache = False
    model.generation_config = GenerationConfig(do_sample=True, top_k=20, repetition_penalty=1.05)
    folder = exported(model, base, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    assert config["use_cache"] is True
    assert model.config.use_cache is False
    assert (config["dtype"], config["architectures"]) == ("bfloat16", ["Qwen2ForCausalLM"])
    assert {"rope_type": "yarn", "factor": 4.0, "rope_theta": 300000.0}.items() <= config["rope_parameters"].items()
    assert str(tmp_path) not in (folder / "config.json").read_text()
    generation = GenerationConfig.from_pretrained(folder)
    assert (generation.eos_token_id, generation.pad_token_id) == ([1, 3], 0)
    assert (generation.do_sample, generation.temperature, generation.top_p) == (True, 0.6, 0.95)
    assert generation.max_new_tokens == 4096
    # The recipe's draws know no such penalty, so the model's numbers come without it.
    assert generation.repetition_penalty in (None, 1.0)
    opened = AutoTokenizer.from_pretrained(folder)
    assert opened.chat_template == AutoTokenizer.from_pretrained(base).chat_template
    assert opened.convert_tokens_to_ids("<|end|>") == 3


@pytest.mark.parametrize(
    ("sampling", "do_sample"),
    [({"temperature": 0, "top_p": 0.9, "max_tokens": 8}, False), ({"temperature": 1.0}, True), (None, True)],
)
def test_settings_of_a_draw_never_contradict_each_other(
    base: Path, tmp_path: Path, sampling: dict[str, Any] | None, do_sample: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    # As some models come: a temperature, and no word that it is used. transformers refuses to save that.
    model.generation_config = GenerationConfig(temperature=0.7, bos_token_id=1)
    caplog.clear()
    folder = exported(model, base, tmp_path, sampling=sampling)
    found = GenerationConfig.from_pretrained(folder)
    found.validate(strict=True)
    assert bool(found.do_sample) is do_sample
    assert found.temperature == {True: 1.0, False: None}[do_sample] if sampling else 0.7
    assert not caplog.records


def trained_lora(base: Path, dtype: Any) -> Any:
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    lora = get_peft_model(model, LoraConfig(r=4, lora_alpha=10, target_modules=["q_proj", "down_proj"]))
    for name, parameter in lora.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return lora


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_additions_are_merged_as_peft_does_it_and_kept_in_its_format(base: Path, tmp_path: Path, dtype: Any) -> None:
    model = trained_lora(base, dtype)
    folder = exported(model, base, tmp_path, base="made/base")
    opened, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype="auto")
    assert not any(told.values())
    whole = copy.deepcopy(model).float()
    oracle = whole.merge_and_unload().state_dict()
    assert opened.state_dict().keys() == oracle.keys()
    for name, tensor in opened.state_dict().items():
        # float32 sums in another order; for bfloat16 the oracle's float32 sum is rounded once.
        torch.testing.assert_close(
            tensor, oracle[name].to(dtype), rtol=1e-2 if dtype is torch.bfloat16 else 1e-6, atol=1e-6
        )
    changed = AutoModelForCausalLM.from_pretrained(base, dtype=dtype).state_dict()
    assert {name.split(".")[-2] for name in changed if not torch.equal(changed[name], opened.state_dict()[name])} == {
        "q_proj",
        "down_proj",
    }
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=dtype), folder / "adapter")
    assert again.peft_config["default"].base_model_name_or_path == "made/base"
    ids = torch.arange(4, 40)[None]
    with torch.no_grad():
        assert torch.equal(again.eval()(ids).logits, model.eval()(ids).logits)


@pytest.mark.parametrize(
    "config", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"target_modules": ["embed_tokens", "q_proj"]}]
)
def test_additions_that_are_no_plain_ones_are_refused(base: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    lora = get_peft_model(model, LoraConfig(**{"r": 2, "target_modules": ["q_proj"], **config}))
    with pytest.raises(Stop, match="only plain low-rank additions"):
        exported(lora, base, tmp_path)


def test_files_that_join_several_weights_are_refused(base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    # A model whose files hold one matrix for what are two weights in memory, as some hold the query's and the key's.
    model._weight_conversions = [
        WeightConverter("mlp.gate_up_proj", ["mlp.gate_proj", "mlp.up_proj"], operations=[_chunk()])
    ]
    with pytest.raises(Stop, match="LlamaForCausalLM can't be exported: its files join several"):
        exported(model, base, tmp_path)


def _chunk() -> Any:
    return Concatenate(dim=0).reverse_op


def test_an_earlier_export_with_other_files_leaves_none_behind(base: Path, tmp_path: Path) -> None:
    model = tied_qwen()
    exported(model, base, tmp_path, shard_bytes=40_000)
    (tmp_path / "model" / "notes.txt").write_text("somebody's own")
    folder = exported(model, base, tmp_path)
    left = {path.name for path in folder.iterdir() if "safetensors" in path.name or path.name == "notes.txt"}
    assert left == {"model.safetensors", "notes.txt"}


class Counting(Store):
    """Counts, at each write, the tensors that are alive beside the model's own."""

    @contextlib.contextmanager
    def writing_bytes(self, name: str) -> Iterator[Any]:
        with super().writing_bytes(name) as sink:
            yield SimpleNamespace(write=lambda content: (self.count(), sink.write(content)))

    def count(self) -> None:
        alive = [each for each in gc.get_objects() if type(each) is torch.Tensor and each.device.type == "cpu"]
        ALIVE.append(sum(each.numel() > 1000 and each.data_ptr() not in MODEL for each in alive))


ALIVE: list[int] = []
MODEL: set[int] = set()


def test_rank_0_holds_one_weight_at_a_time(base: Path, tmp_path: Path) -> None:
    model = tied_qwen()
    MODEL.update(tensor.data_ptr() for tensor in model.state_dict().values())
    # What is there already is no longer listed: looking through it all at each write takes long.
    gc.freeze()
    try:
        exported(model, base, tmp_path, store=Counting(str(tmp_path)))
    finally:
        gc.unfreeze()
    assert len(ALIVE) > 20
    assert 0 < max(ALIVE) <= 2
