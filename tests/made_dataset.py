"""A run with a data set, made from a handful of traces by our own code, without Ray."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import yaml
from rows import trace

from pipeline.card import write_card
from pipeline.choosing.example import examples, llama_factory, pairs
from pipeline.record import Trace
from pipeline.store import Store

RECIPE = {
    "name": "made",
    "seed": 3,
    "sources": [
        {"name": "sums", "format": "jsonl", "path": "/home/somebody/secret/sums.jsonl", "licence": "Apache 2.0"},
        {"name": "more|sums", "format": "hf", "path": "made/more", "split": "train", "licence": "unknown"},
    ],
    "teacher": {
        "model": "model",
        "base_url": "https://host/v1",
        "prompt_usd_per_mtok": 1,
        "completion_usd_per_mtok": 2,
    },
    "student": {"model": "made/student"},
}
CURATED = {"in": 10, "kept": 8, "dropped": {"duplicate": 2}, "sources": {"sums": 6, "more|sums": 4}, "benchmarks": {}}
DISTILLED = {
    "problems": 8,
    "traces": 16,
    "verdicts": {"correct": 9, "wrong": 6, "undecided": 1},
    "dropped": {},
    "cost_total_usd": 0.016,
}


def made_run(folder: Path) -> Store:
    """Eight training examples, two of validation and two pairs; the card and its plots are written."""
    store = Store(str(folder))
    note = "# versions:\n#   ray: 1.2.3\n# longthought: abc123\n"
    store.write_bytes("recipe.yaml", f"{note}{yaml.safe_dump(RECIPE)}".encode())
    store.write_json("summary/curate.json", CURATED)
    store.write_json("summary/distill.json", DISTILLED)
    traces = [_trace(n) for n in range(10)]
    for name, part in {"train-00000": traces[:5], "train-00001": traces[5:8], "validation-00000": traces[8:]}.items():
        store.write_table(f"dataset/{name}.parquet", _examples(part))
    sides = [(one, replace(one, reply="\\boxed{0}", found="0", verdict="wrong", draw=1)) for one in traces[1:3]]
    table = pairs(sides, student_tokens=[(5, 4), (6, None)], templates={})
    store.write_table("dataset/preference/pairs-00000.parquet", table)
    store.write_json("dataset/dataset_info.json", llama_factory("made"))
    write_card(store, chosen={"examples": 10, "tokens": 70, "dropped": {"wrong": 5, "enough": 1}})
    store.write_json("dataset/step.json", {"fingerprint": "made", "done": True})
    return store


def _examples(traces: Sequence[Trace]) -> pa.Table:
    tokens = [trace.reply_tokens for trace in traces]
    return examples(traces, student_tokens=tokens, agreement=[None] * len(traces), templates={})


def _trace(n: int) -> Trace:
    told = {"source": "more|sums", "licence": "unknown"} if n % 5 == 4 else {"source": "sums", "licence": "Apache 2.0"}
    told |= {"thought": f"{n} and {n}.", "reply": f"\\boxed{{{2 * n}}}", "found": str(2 * n), "answer": str(2 * n)}
    told |= {"subject": ("algebra", "number theory")[n % 2], "pass_rate": n % 5 / 4, "pass_draws": 4}
    return trace(f"What is {n} + {n}?", thought_tokens=10 * n, reply_tokens=n + 1, **told)
