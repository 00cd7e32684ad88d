"""The export from two ranks whose weights are sharded (ZeRO-3), and what becomes of it when it can't be written."""

import errno
import json
import multiprocessing
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_model

torch = pytest.importorskip("torch")

from pipeline.errors import Stop  # noqa: E402
from pipeline.store import Store  # noqa: E402

TEXTS = [[4, 9, 30, 77, 5, 6], [100, 7, 7, 7, 200]]
LORA = {"rank": 4, "alpha": 10, "targets": ("q_proj", "down_proj")}


class Full(Store):
    """A disk that is full from the second shard on."""

    @contextmanager
    def writing_bytes(self, name: str) -> Iterator[Any]:
        with super().writing_bytes(name) as sink:
            if "00002" in name:
                raise OSError(errno.ENOSPC, "No space left on device")
            yield sink


def settings(**changes: Any) -> Any:
    from pipeline.training.settings import Phase, TrainSettings

    told = {"phases": (Phase(name="only", generations=("long",)),), "device": "cpu", "workers": 2, "dtype": "float32"}
    return TrainSettings(**{**told, "window": 64, "gradient_checkpointing": False, **changes})


def trained(model: Any, wanted: Any, ranks: Any, tokenizer: Any) -> Any:
    """A ZeRO-3 engine after two steps, so that DeepSpeed has seen the model's order of weights."""
    import deepspeed

    from cluster.training.zero import Opened, decayed, trainable, zero3
    from pipeline.pack import together

    config = zero3(wanted, accumulation=1)
    # No weight is small enough to stay whole on every rank.
    config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    loss_model = trainable(model, wanted)
    optimizer = torch.optim.AdamW(decayed(loss_model, weight_decay=0.0), lr=1e-2)
    engine, *_ = deepspeed.initialize(model=loss_model, optimizer=optimizer, config=config)
    opened = Opened(engine, tokenizer)
    for _ in range(2):
        engine.backward(engine(*ranks.inputs(together(documents()[:1], ["a"]), opened)))
        engine.step()
    return opened


def documents() -> list[Any]:
    from pipeline.pack import Document

    return [Document(np.array(ids, np.int32), 1) for ids in TEXTS]


def whole(engine: Any, merged: bool) -> dict[str, Any]:
    """The weights by DeepSpeed's own gathering of everything at once; merged by peft where there are additions."""
    import deepspeed
    from transformers import AutoModelForCausalLM

    model = engine.module.model
    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if not merged:
        return state
    from peft import LoraConfig, get_peft_model

    plain = AutoModelForCausalLM.from_config(model.get_base_model().config)
    copy = get_peft_model(plain, LoraConfig(r=4, lora_alpha=10, target_modules=["q_proj", "down_proj"]))
    copy.load_state_dict(state)
    return dict(copy.merge_and_unload().state_dict())


def rank_of_two(rank: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "DS_ACCELERATOR": "cpu"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    import deepspeed
    import torch.distributed as dist
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from cluster.training import attention
    from cluster.training.export import export
    from cluster.training.lora import with_additions
    from cluster.training.probes import trained_readings
    from cluster.training.ranks import Ranks
    from cluster.training.readings import write_readings

    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo", verbose=False)
    store, tokenizer = Store(str(folder)), AutoTokenizer.from_pretrained(folder / "base")
    told = {"tokenizer": tokenizer, "eos_id": 3, "shard_bytes": 200_000}
    # The ranks of the second share each text between them.
    kinds = {"full": settings(), "lora": settings(sequence_parallel=2, lora=LORA)}
    for kind, wanted in kinds.items():
        model = AutoModelForCausalLM.from_pretrained(
            folder / "base", dtype=torch.float32, attn_implementation=attention.NAME
        )
        if wanted.lora is not None:
            model = with_additions(model, wanted.lora, seed=1)
        ranks = Ranks.of(wanted)
        opened = trained(model, wanted, ranks, tokenizer)
        engine = opened.engine
        held = next(parameter for parameter in engine.module.parameters() if parameter.requires_grad)
        assert held.numel() == 0, "the weights are not sharded: nothing is tested"
        readings = trained_readings(opened, ranks, documents())
        expected = whole(engine, merged=kind == "lora")
        export(engine, store=Store(str(folder / f"rank{rank}")), folder=kind, **told)
        if rank == 0:
            torch.save(expected, folder / f"{kind}.pt")
            write_readings(store, f"{kind}.json", readings)
    try:
        export(engine, store=Full(str(folder / "none")), folder="full", **told)
    except Stop as stop:
        store.write_json(f"stop-{rank}.json", str(stop))
    # Both are still in step with each other.
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    tiny_model(folder / "base")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=rank_of_two, args=(rank, port, folder)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=120)
        if process.is_alive():
            process.kill()
            raise TimeoutError("a rank hangs")
    assert [process.exitcode for process in ranks] == [0, 0]
    return folder


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_what_two_ranks_hold_is_what_transformers_reads(left: Path, kind: str) -> None:
    from transformers import AutoModelForCausalLM

    folder = left / "rank0" / kind
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    opened, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype="auto")
    assert not any(told.values())
    expected = torch.load(left / f"{kind}.pt")
    found = opened.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6 if kind == "lora" else 0)
    base = AutoModelForCausalLM.from_pretrained(left / "base", dtype=torch.float32).state_dict()
    assert any(not torch.equal(base[name], found[name]) for name in found), "training changed nothing"


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_the_readings_of_sharded_weights_are_those_of_whole_ones(left: Path, kind: str) -> None:
    from transformers import AutoModelForCausalLM

    from cluster.training.readings import read_readings

    model = AutoModelForCausalLM.from_pretrained(left / "rank0" / kind, dtype=torch.float32).eval()
    readings = read_readings(Store(str(left)), f"{kind}.json")
    assert [list(reading.ids) for reading in readings] == TEXTS
    for reading in readings:
        with torch.no_grad():
            logits = model(torch.tensor([reading.ids])).logits[0]
        for place, token in enumerate(reading.ids[1:]):
            expected = -float(torch.nn.functional.cross_entropy(logits[place], torch.tensor(token)))
            assert reading.logprobs[place] == pytest.approx(expected, abs=1e-5)
        assert list(reading.likeliest) == logits[:-1].argmax(-1).tolist()


def test_the_adapter_of_sharded_additions_opens_with_peft(left: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = left / "rank0" / "lora"
    base = AutoModelForCausalLM.from_pretrained(left / "base", dtype=torch.float32)
    opened = PeftModel.from_pretrained(base, folder / "adapter").eval()
    merged = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor(TEXTS[:1])
    with torch.no_grad():
        torch.testing.assert_close(opened(ids).logits, merged(ids).logits, rtol=0, atol=1e-5)


def test_only_rank_0_writes(left: Path) -> None:
    assert not (left / "rank1").exists()


def test_a_full_disk_ends_every_rank_with_the_same_line(left: Path) -> None:
    said = [json.loads((left / f"stop-{rank}.json").read_text()) for rank in range(2)]
    assert said[0] == said[1]
    assert "no space is left on the disk" in said[0]
    assert "\n" not in said[0]
    # The shard that could not be written is not there by half.
    assert [path.name for path in (left / "none" / "full").iterdir()] == [
        next(path.name for path in (left / "none" / "full").glob("model-00001-*"))
    ]
