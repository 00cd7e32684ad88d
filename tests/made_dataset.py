"""A run with a data set, made from a handful of traces by our own code, without Ray."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from rows import trace

from pipeline.card import write_card
from pipeline.choose import ChooseSettings, choose, examples
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
    kept = examples(choose(traces, settings=ChooseSettings(), held_out=frozenset()), templates={})
    kept = kept.append_column("subject", pa.array(["algebra", "number theory"] * 5))
    kept = kept.append_column("pass_rate", pa.array([0.0, 0.25, 0.5, 0.75, 1.0] * 2))
    for name, start, rows in (("train-00000", 0, 5), ("train-00001", 5, 3), ("validation-00000", 8, 2)):
        store.write_table(f"dataset/{name}.parquet", kept.slice(start, rows))
    store.write_table("dataset/preference/pairs-00000.parquet", _pairs())
    write_card(store, chosen={"examples": 10, "tokens": 70, "dropped": {"wrong": 5, "enough": 1}})
    store.write_json("dataset/step.json", {"fingerprint": "made", "done": True})
    return store


def _trace(n: int) -> Any:
    columns = (
        {"source": "more|sums", "licence": "unknown"} if n % 5 == 4 else {"source": "sums", "licence": "Apache 2.0"}
    )
    columns |= {"thought": f"{n} and {n}.", "reply": f"\\boxed{{{2 * n}}}", "found": str(2 * n), "answer": str(2 * n)}
    return trace(f"What is {n} + {n}?", thought_tokens=10 * n, reply_tokens=n + 1, **columns)


def _pairs() -> pa.Table:
    def said(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    return pa.table(
        {
            "prompt": [said("user", "What is 1 + 1?"), said("user", "What is 2 + 2?")],
            "chosen": [said("assistant", "It is 2."), said("assistant", "It is 4.")],
            "rejected": [said("assistant", "It is 3."), said("assistant", "It is 5.")],
            "problem_id": ["a" * 32, "b" * 32],
            "source": ["sums", "sums"],
        }
    )
