"""The validation loss: transformers' own loss over the same documents, on one rank and on two, and no trace of it."""

import json
import multiprocessing
import socket
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from tiny import tiny_model

from pipeline.store import Store

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

# Five windows: on two ranks one of them has none in the last round. The second has nothing that is trained on.
WINDOWS = [[(9, 3), (14, 1)], [(4, 4)], [(20, 10)], [(6, 2), (7, 5), (2, 1)], [(11, 0)]]


def packed(store: Store) -> list[tuple[list[int], int]]:
    """Write the windows; their documents, each with its untrained tokens."""
    from cluster.packs import PackMeta

    draw = torch.Generator().manual_seed(0)
    held = [
        [(torch.randint(4, 200, (length,), generator=draw).tolist(), prompt) for length, prompt in window]
        for window in WINDOWS
    ]
    tables = [
        pa.table(
            {
                "ids": [[token for ids, _ in window for token in ids]],
                "lengths": [[len(ids) for ids, _ in window]],
                "prompts": [[prompt for _, prompt in window]],
                "examples": [["e"] * len(window)],
            }
        )
        for window in held
    ]
    store.write_batches("packs/v/windows.arrow", tables)
    meta = PackMeta(
        made_of="x",
        window=64,
        pad_id=0,
        examples=8,
        left_out={},
        truncated=0,
        longest=20,
        files=("windows.arrow",),
        windows_in_files=(len(held),),
        num_tokens=tuple(sum(len(ids) for ids, _ in window) for window in held),
        num_labels=tuple(sum(len(ids) - max(1, prompt) for ids, prompt in window) for window in held),
    )
    store.write_json("packs/v/meta.json", meta.model_dump())
    return [document for window in held for document in window]


def transformers_loss(folder: Path, documents: list[tuple[list[int], int]]) -> float:
    """Each document alone through transformers' loss, weighed by its trained tokens."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    summed, count = 0.0, 0
    for ids, prompt in documents:
        labels = torch.tensor([[*[-100] * prompt, *ids[prompt:]]])
        trained = len(ids) - max(1, prompt)
        if trained:
            summed += trained * model(input_ids=torch.tensor([ids]), labels=labels).loss.item()
        count += trained
    return summed / count


def rank(number: int, ranks: int, port: int, folder: str) -> None:
    """One rank: measure, and say whether anything else has changed."""
    import torch.distributed as dist
    from transformers import AutoModelForCausalLM

    from cluster.training import attention
    from cluster.training.loss import LossModel
    from cluster.training.plan import History
    from cluster.training.ranks import Ranks
    from cluster.training.validate import validated

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=number, world_size=ranks)
    model = AutoModelForCausalLM.from_pretrained(
        Path(folder) / "model", dtype=torch.float32, attn_implementation=attention.NAME, attention_dropout=0.0
    )
    engine = LossModel(model, chunks=2).train()
    before, state = [each.clone() for each in engine.parameters()], torch.get_rng_state()
    history = History(loss=[1.0, 1.0])
    opened = SimpleNamespace(engine=engine, device=torch.device("cpu"), pad_id=0)
    plan = SimpleNamespace(store=Store(folder), validation="packs/v")
    validated(opened, Ranks(number, ranks, 0, 1, None, False), plan, history)
    said = {
        "validation": history.validation,
        "is_training": engine.training and model.training,
        "same_weights": all(torch.equal(a, b) for a, b in zip(before, engine.parameters(), strict=True)),
        "no_gradient": all(each.grad is None for each in engine.parameters()),
        "same_chance": torch.equal(state, torch.get_rng_state()),
    }
    (Path(folder) / f"said-{number}-of-{ranks}.json").write_text(json.dumps(said))
    dist.destroy_process_group()


def test_validation_is_transformers_loss_on_one_rank_and_on_two_and_changes_nothing(tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")
    documents = packed(Store(str(tmp_path)))
    # Forked, so that a rank starts with all that is imported, yet not from here: torch's threads don't outlive a fork.
    ranks_of = multiprocessing.get_context("forkserver")
    ranks_of.set_forkserver_preload(["cluster.training.validate", "cluster.training.loss"])
    ports = {ranks: free_port() for ranks in (1, 2)}
    started = [
        ranks_of.Process(target=rank, args=(number, ranks, ports[ranks], str(tmp_path)))
        for ranks in ports
        for number in range(ranks)
    ]
    for process in started:
        process.start()
    oracle = transformers_loss(tmp_path / "model", documents)
    for process in started:
        process.join(timeout=120)
        assert process.exitcode == 0
    said = [json.loads((tmp_path / f"said-{name}.json").read_text()) for name in ("0-of-1", "0-of-2", "1-of-2")]
    for one in said:
        assert one.pop("validation") == {"2": pytest.approx(oracle, rel=1e-5)}
        assert all(one.values()), one


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
