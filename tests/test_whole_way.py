"""The whole way on a tiny random model, with every real part: Ray Data, HTTP, vLLM, Parquet, Ray Train, ZeRO-3."""

import re
import time
from pathlib import Path

import datasets
import pytest
from tiny import recipe, recorded, run, summary, tiny_model

pytestmark = [pytest.mark.ray, pytest.mark.vllm]


def made(folder: Path) -> Path:
    tiny_model(folder / "model")
    held_out = recorded(folder / "held_out.jsonl", problems=12)
    sampling = {"temperature": 1.0, "max_tokens": 16}
    generations = [
        {"name": "long", "engine": "teacher", "draws": 2, "sampling": {"max_tokens": 64}},
        {"name": "self", "engine": "student", "draws": 1, "problems": 0.5, "sampling": sampling},
    ]
    benchmark = {"name": "held-out", "format": "jsonl", "path": str(held_out), "fields": {"prompt": "question"}}
    return recipe(
        folder,
        recorded(folder / "problems.jsonl", problems=40),
        # Each shard that is chosen from opens the tokenizer in a process of its own.
        shards=2,
        distill={"generations": generations},
        evaluate={
            "benchmarks": {"sums": benchmark},
            "draws": 2,
            "sampling": sampling,
            "thought_budgets": [5],
            "answer_tokens": 3,
        },
    )


def test_the_whole_way_keeps_the_contract_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    path = made(tmp_path)
    ended = run("run", path)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    curated, distilled, chosen = (summary(tmp_path, job) for job in ("curate", "distill", "choose"))
    assert (curated["in"], curated["kept"], curated["dropped"]) == (40, 28, {"in_benchmark": 12})
    assert distilled["problems"] == 28
    assert distilled["calls"]["bought"] == distilled["traces"] > 56
    assert chosen["examples"] >= 28
    trained, scored = summary(tmp_path, "train"), summary(tmp_path, "evaluate")
    assert trained["phases"][0]["tokens"] > 0
    for model in ("base", "student"):
        score = scored["models"][model]["sums"]
        assert (score["problems"], score["samples"]) == (12, 24)
        assert score["ci95"][0] <= score["pass@1"] <= score["ci95"][1]
        # The tiny model seldom ends by itself: its answers are cut after five tokens and go on for three.
        forced = scored["models"][f"{model}@5"]["sums"]
        assert forced["samples"] == 24
        assert 5 < forced["mean_tokens"] <= 5 + 3
    assert scored["held_out_in_dataset"] == 0
    folder = tmp_path / "runs" / "made"
    rows = datasets.load_dataset("parquet", data_files=f"{folder}/dataset/*.parquet", cache_dir=str(tmp_path))["train"]
    assert rows.num_rows == chosen["examples"]
    assert [turn["role"] for turn in rows[0]["messages"]] == ["user", "assistant"]
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    # Self-contained: nothing is fetched when it is opened.
    assert not re.search(r"(?:src|href)=[\"']https?:", page)

    began = time.monotonic()
    again = run("run", path)
    assert again.returncode == 0, again.stderr[-2000:]
    assert time.monotonic() - began < 60
    assert summary(tmp_path, "distill")["calls"]["bought"] == 0
    assert summary(tmp_path, "train") == trained
