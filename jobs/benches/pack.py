"""Packing: the padding that it leaves, and examples a second from texts to files of windows."""

import random
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from cluster.models import local_path
from cluster.packs import make_packs
from cluster.session import ClusterSettings, session
from jobs.benches.result import Result
from pipeline.pack import best_fit
from pipeline.store import Store

_MODEL = "SmolLM2-135M-Instruct"
_ROWS, _WINDOW, _WORKERS = 6000, 16_384, 2


def pack() -> list[Result]:
    """Positions lost to padding against first-come packing, and tokens a second against TRL."""
    return [_padding(), _rate()]


def _padding() -> Result:
    """For 20,000 thoughts of lognormal length in windows of 32,768 tokens."""
    rng = random.Random(1)
    window = 32768
    lengths = [min(window, max(50, round(rng.lognormvariate(8.5, 0.9)))) for _ in range(20_000)]
    ours = 1 - sum(lengths) / (len(best_fit(lengths, window=window)) * window)
    peer = 1 - sum(lengths) / (_first_come(lengths, window) * window)
    return Result("pack", ours, peer, "first-come packing", "share of padding", peer / max(ours, 1e-9), goal=5.0)


def _rate() -> Result:
    """Tokens a second of the whole job on a Ray that runs, against TRL's tokenising and packing in two processes."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        _written(store)
        model = local_path(_MODEL)
        with session(ClusterSettings(local_cpus=_WORKERS, dashboard=False)):
            for take in ("warm", "timed"):
                started = time.monotonic()
                made = make_packs(
                    store=store,
                    folder=f"packs/{take}",
                    source=(store, "dataset"),
                    generations=(),
                    split="train",
                    model=model,
                    window=_WINDOW,
                    too_long="truncate",
                    seed=1,
                    cpus=1,
                    made_of=take,
                )
                ours_s = time.monotonic() - started
        assert made is not None
        started = time.monotonic()
        peer_tokens, peer_windows = _trl(Path(store.address("dataset")), model, f"{folder}/cache")
        peer_s = time.monotonic() - started
    tokens = sum(made.num_tokens)
    print(f"pack_rate: {tokens:,} tokens in {made.windows:,} windows; TRL {peer_tokens:,} in {peer_windows:,}")
    ours, peer = tokens / ours_s, peer_tokens / peer_s
    return Result("pack_rate", ours, peer, f"TRL, {_WORKERS} processes", "tokens/s", ours / peer, goal=1.0)


def _trl(folder: Path, model: str, cache: str) -> tuple[int, int]:
    """What SFTTrainer does before it trains: each row through the chat template to tokens, then packing (bfd)."""
    from datasets import Dataset, load_dataset
    from transformers import AutoTokenizer
    from trl import pack_dataset

    tokenizer = AutoTokenizer.from_pretrained(model)

    def tokens(row: dict[str, list[dict[str, str]]]) -> dict[str, list[int]]:
        return {"input_ids": tokenizer.apply_chat_template(row["messages"], return_dict=True)["input_ids"]}

    rows = load_dataset("parquet", data_files=str(folder / "*.parquet"), split="train", cache_dir=cache)
    assert isinstance(rows, Dataset)
    encoded = rows.map(tokens, remove_columns=rows.column_names, num_proc=_WORKERS)
    packed = pack_dataset(encoded, _WINDOW, "bfd", {"num_proc": _WORKERS})
    return sum(map(len, packed.with_format("arrow")["input_ids"])), len(packed)


def _written(store: Store) -> None:
    """Made-up thoughts of lognormal length, in two files."""
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(5000)]
    rows = []
    for number in range(_ROWS):
        thought = " ".join(rng.choices(words, k=max(30, round(rng.lognormvariate(6.5, 0.8)))))
        turns = [("user", f"What is {number}?"), ("assistant", f"<think>\n{thought}\n</think>\n\n{number}")]
        rows.append({"messages": [{"role": role, "content": said} for role, said in turns]})
    for number in range(_WORKERS):
        store.write_table(f"dataset/train-{number:05d}.parquet", pa.Table.from_pylist(rows[number::_WORKERS]))


def _first_come(lengths: list[int], window: int) -> int:
    windows, used = 1, 0
    for length in lengths:
        if used + length > window:
            windows, used = windows + 1, 0
        used += length
    return windows
