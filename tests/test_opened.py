"""Whether an export is what was trained: right ones pass, wrong ones are told with the token that differs."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny import alone, tiny_model

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from cluster.training import attention  # noqa: E402
from cluster.training.export import eos_ids, export  # noqa: E402
from cluster.training.loss import LossModel  # noqa: E402
from cluster.training.opened import by_transformers, check_opened  # noqa: E402
from cluster.training.probes import probes_of, trained_readings  # noqa: E402
from cluster.training.ranks import Ranks  # noqa: E402
from cluster.training.readings import (  # noqa: E402
    TOLERANCES,
    Found,
    Reading,
    compare,
    read_readings,
    write_readings,
)
from cluster.training.zero import Opened  # noqa: E402
from pipeline.errors import Stop  # noqa: E402
from pipeline.pack import Document, together  # noqa: E402
from pipeline.store import Store  # noqa: E402

TURNS = [
    [{"role": "user", "content": f"What is {n} + {n}?"}, {"role": "assistant", "content": f"Twice {n}: {2 * n}"}]
    for n in (7, 1234)
]


def made(folder: Path, dtype: str) -> tuple[Store, list[Reading], list[int]]:
    """An exported model, what the trainer made of the probes, and what ends a reply.

    Its weights are so large that every one of them matters; a fresh model says nearly the same whatever it reads.
    """
    tiny_model(folder / "base")
    model = AutoModelForCausalLM.from_pretrained(
        folder / "base", dtype=torch.float32, attn_implementation=attention.NAME
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "embed" not in name:
                parameter *= 6
    model = model.to(getattr(torch, dtype)).train()
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    store = Store(str(folder / "run"))
    engine = SimpleNamespace(module=LossModel(model, chunks=1), device=torch.device("cpu"))
    alone_ = Ranks(data=0, data_ranks=1, part=0, parts=1, group=None, flash=False)
    texts = [tokenizer.apply_chat_template(turns, tokenize=False) for turns in TURNS]
    probes = [Document(np.array(tokenizer(text)["input_ids"], np.int32), 4) for text in texts]
    readings = trained_readings(Opened(engine, tokenizer), alone_, probes)
    assert model.training
    write_readings(store, "readings.json", readings)
    export(engine, tokenizer, store=store, folder="model", eos_id=3, sampling={"temperature": 0.6})
    return store, read_readings(store, "readings.json"), eos_ids(tokenizer, 3)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[Reading], list[int]]:
    return made(tmp_path_factory.mktemp("opened"), "float32")


def checked(store: Store, readings: list[Reading], eos: list[int]) -> dict[str, float]:
    found = by_transformers(store.address("model"), [reading.ids for reading in readings], "float32")
    return compare(readings, found, who="transformers", eos=eos, tolerance=TOLERANCES["float32"])


def test_probes_are_the_first_documents_cut() -> None:
    held = [Document(np.arange(size, dtype=np.int32), 1) for size in (5, 1, 300, 7, 9)]
    windows = [together(held[:2], ["a", "b"]), together(held[2:], ["c", "d", "e"])]
    found = probes_of(windows, count=3, most=256)
    assert [probe.ids.tolist() for probe in found] == [[0, 1, 2, 3, 4], list(range(256)), list(range(7))]


def test_a_right_export_passes(right: Any) -> None:
    figures = checked(*right)
    # The trainer's own attention is nobody else's.
    assert attention.NAME not in Path(right[0].address("model/config.json")).read_text()
    assert figures["largest"] < 1e-4
    assert figures["tokens"] == sum(len(reading.ids) - 1 for reading in right[1])


def swapped(folder: Path) -> None:
    """Two rows of one matrix of the last layer change places."""
    weights = load_file(folder / "model.safetensors")
    matrix = weights["model.layers.1.self_attn.q_proj.weight"]
    matrix[[3, 70]] = matrix[[70, 3]]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def rounded(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights = {name: tensor.to(torch.bfloat16).float() for name, tensor in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def set_in(name: str, **values: Any) -> Any:
    def change(folder: Path) -> None:
        told = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**told, **values}))

    return change


WRONG = {
    "permuted": (swapped, r"is not what was trained: token \d+ of example \d has log-probability -\d"),
    "rounded": (rounded, "is not what was trained"),
    "rope": (
        set_in("config.json", rope_parameters={"rope_type": "default", "rope_theta": 20_000.0}),
        "is not what was trained",
    ),
    "no EOS": (set_in("generation_config.json", eos_token_id=1), "does not end a reply at token 3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_export_is_told(right: Any, tmp_path: Path, name: str) -> None:
    store, readings, eos = right
    other = Store(str(tmp_path))
    for file in store.names("model"):
        other.write_bytes(f"model/{file}", Path(store.address(f"model/{file}")).read_bytes())
    assert checked(other, readings, eos)
    spoil, said = WRONG[name]
    spoil(tmp_path / "model")
    with pytest.raises(Stop, match=said) as stop:
        checked(other, readings, eos)
    assert "\n" not in str(stop.value)


def test_a_folder_without_a_weight_or_a_template_is_told(right: Any, tmp_path: Path) -> None:
    store, readings, eos = right
    other = Store(str(tmp_path))
    for file in store.names("model"):
        other.write_bytes(f"model/{file}", Path(store.address(f"model/{file}")).read_bytes())
    (tmp_path / "model" / "chat_template.jinja").unlink()
    with pytest.raises(Stop, match="has no chat template"):
        checked(other, readings, eos)
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Stop, match=r"first model\.layers\.1\.self_attn\.q_proj\.weight"):
        checked(other, readings, eos)
    (tmp_path / "model" / "config.json").write_text("{")
    with pytest.raises(Stop, match="transformers can't open"):
        checked(other, readings, eos)


def test_the_comparison_names_the_worst_token_and_takes_no_number_for_wrong() -> None:
    ours = Reading((5, 6, 7), (-1.0, -2.0), (6, 9), (3.0, 0.1))
    tolerance = TOLERANCES["bfloat16"]

    def against(**changes: Any) -> dict[str, float]:
        found = Found((replace(ours, **changes),), (1, 3))
        return compare([ours], found, who="vllm", eos=[3], tolerance=tolerance)

    assert against(logprobs=(-1.02, -2.04)) == pytest.approx({"mean_difference": 0.03, "largest": 0.04, "tokens": 2})
    # The second's likeliest is no clear one, so another may be it.
    assert against(likeliest=(6, 8))
    with pytest.raises(Stop, match=r"token 1 of example 0 .* likeliest token is another"):
        against(likeliest=(9, 9))
    with pytest.raises(Stop, match=r"token 2 of example 0 has log-probability -2\.3 instead of -2"):
        against(logprobs=(-1.0, -2.3))
    with pytest.raises(Stop, match="token 1 of example 0 has log-probability nan"):
        against(logprobs=(float("nan"), -2.0))


def opened_by_both(folder: Path) -> None:
    from cluster.engine import EngineSettings
    from cluster.session import ClusterSettings, session

    store, readings, eos = made(folder, "bfloat16")
    settings = EngineSettings(device="cpu", dtype="bfloat16", kv_cache_gib=0.25, cpus=1.0)
    with session(ClusterSettings(local_cpus=2, dashboard=False)):
        told = {"eos": eos, "by": ("transformers", "vllm"), "dtype": "bfloat16", "engine": settings}
        figures = check_opened(store, "model", readings, **told)
    print(json.dumps(figures))
    assert figures.keys() == {"transformers", "vllm"}
    assert figures["vllm"]["mean_difference"] < 0.05
    assert figures["vllm"]["tokens"] == sum(len(reading.ids) - 1 for reading in readings)
    (folder / "figures.json").write_text(json.dumps(figures))


@pytest.mark.vllm
@pytest.mark.ray
def test_transformers_and_vllm_open_it_on_the_cluster(tmp_path: Path) -> None:
    alone(opened_by_both, tmp_path)
    assert (tmp_path / "figures.json").exists()
