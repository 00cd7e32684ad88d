"""The model's card: lineage and figures as the run has them, and honest about what the run does not have."""

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_dataset import RECIPE, made_run
from markdown_it import MarkdownIt

from pipeline.model_card import data_hash, write_card
from pipeline.store import Store

TRAINED: dict[str, Any] = {
    "phases": [
        {
            "name": "format",
            "steps": 12,
            "examples": 8,
            "tokens": 4096,
            "padding_fraction": 0.0123,
            "loss_first": 1.50249,
            "loss_last": 0.75,
        },
        {"name": "distil|x", "steps": 3400, "tokens": 1_000_000, "loss_first": 0.7, "loss_last": 0.61},
    ],
    "opened": {"vllm": {"mean_difference": 0.0123, "largest": 0.25, "tokens": 700}},
}
SCORED: dict[str, Any] = {
    "models": {
        "base": {"aime": {"pass@1": 0.1, "ci95": [0.02, 0.25], "problems": 30, "samples": 120, "mean_tokens": 812.4}},
        "student": {"aime": {"pass@1": 0.3, "ci95": [0.15, 0.5], "problems": 30, "samples": 120, "truncated": 0.5}},
    },
    "paired": [
        {"benchmark": "aime", "a": "base", "b": "student", "difference": 0.2, "ci95": [0.05, 0.35], "p_value": 0.01}
    ],
    "held_out_in_dataset": 0,
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = made_run(tmp_path)
    train = {
        "lr": 1e-5,
        "phases": [
            {"name": "format", "dataset": "s3://bucket/secret/own?endpoint_override=10.0.0.1:9000", "licence": "MIT"},
            {"name": "distil", "generations": ["long"]},
        ],
    }
    recipe = {**RECIPE, "train": {**train, "watch": {"mlflow": {"uri": "http://10.0.0.1"}}}}
    recipe |= {"evaluate": {"benchmarks": {"aime": {"format": "hf", "path": "made/aime"}}}}
    recipe |= {"curate": {"language": {"wanted": ["en"]}}}
    note = "# versions:\n#   ray: 1.2.3\n# longthought: abc123\n"
    store.write_bytes("recipe.yaml", f"{note}{yaml.safe_dump(recipe)}".encode())
    tokens = {"prompt": 1000, "thought": 2500, "reply": 300}
    told = {"calls": {"bought": 7, "reused": 9, "retried": 1, "failed": 0}, "tokens": tokens, "cost_total_usd": 0.016}
    store.write_json("summary/distill.json", told)
    return store


def parts(store: Store) -> tuple[dict[str, Any], str]:
    _, front, rest = store.read_text("model/README.md").split("---\n", 2)
    return yaml.safe_load(front), rest


def test_the_metadata_is_the_hubs(store: Store) -> None:
    from huggingface_hub import ModelCard

    write_card(store, trained=TRAINED)
    front, _ = parts(store)
    assert front == {
        "base_model": "made/student",
        "base_model_relation": "finetune",
        "datasets": ["made/more"],
        "language": ["en"],
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["reasoning", "distillation", "chain-of-thought", "longthought"],
    }
    read = ModelCard(store.read_text("model/README.md")).data
    assert (read.base_model, read.library_name, read.pipeline_tag) == (
        "made/student",
        "transformers",
        "text-generation",
    )


def test_the_lineage_is_told(store: Store) -> None:
    write_card(store, trained=TRAINED, scored=SCORED)
    _, text = parts(store)
    lines = [re.sub(r"\s+", " ", line) for line in text.splitlines()]
    expected = [
        "| base model | made/student |",
        "| examples | train 8, validation 2 |",
        "| answers asked for | 16 |",
        "| their tokens | prompt 1,000, thought 2,500, reply 300 |",
        "| their cost | \\$0.0160 (USD) |",
        f"| SHA-256 of the data files | {data_hash(store)} |",
        "| format | 12 | 8 | 4,096 | 1.2 % | 1.502 | 0.75 |",
        "| distil&#124;x | 3,400 | | 1,000,000 | | 0.7 | 0.61 |",
        "| vLLM | 700 | 0.0123 | 0.25 |",
        "| aime | base | 10.0 % | 2.0 % to 25.0 % | 30 | 120 | 812 | |",
        "| aime | student | 30.0 % | 15.0 % to 50.0 % | 30 | 120 | | 50.0 % |",
        "| aime | student minus base | 20.0 % | 5.0 % to 35.0 % | 0.01 |",
    ]
    for line in expected:
        assert line in lines, line
    assert "commit abc123 (ray 1.2.3), seed 3" in text
    assert "None of these problems is in the training data that was made for it." in text
    assert "Nothing is known of the licence of more&#124;sums" in text
    assert "lr: 1.0e-05" in text
    rendered = str(MarkdownIt("gfm-like", {"linkify": False}).render(text))
    assert rendered.count("<h1>") == 1
    assert not re.search(r"<p>\s*\|", rendered)


def test_what_was_not_measured_is_said_and_told_once_it_is(store: Store) -> None:
    write_card(store, trained={"phases": []})
    _, before = parts(store)
    assert "nothing was measured yet" in before
    assert "the export was not compared" in before
    assert "Not measured." in before
    store.write_json("summary/train.json", TRAINED)
    write_card(store, scored=SCORED)
    _, after = parts(store)
    assert "nothing was measured yet" not in after
    assert "Not measured." not in after
    assert "| format | 12 |" in after


def test_rows_from_outside_are_told_from_those_that_were_verified(store: Store) -> None:
    write_card(store, trained=TRAINED, scored={**SCORED, "held_out_left_out": 1234})
    mixed = store.read_text("model/README.md")
    assert "long thoughts that a teacher wrote" in mixed
    assert "the rows of own (licence: MIT) as they came: nothing here wrote or verified them" in mixed
    assert "Rows in which a problem of aime was found were left out" in mixed
    assert "1,234 of the rows from outside held one of these problems" in mixed
    assert "None of these problems is in the training data that was made for it." in mixed
    recipe = yaml.safe_load(store.read_text("recipe.yaml"))
    only = {**recipe["train"], "phases": [{"name": "format", "dataset": "/home/me/own"}]}
    # Sources are named, and not trained on.
    changed = {**recipe, "train": only, "evaluate": {}, "teacher": {"standin": {"answers": "worked"}}}
    store.write_bytes("recipe.yaml", yaml.safe_dump(changed).encode())
    write_card(store, trained=TRAINED)
    front, alone = parts(store)
    assert "made/student, trained on conversations from elsewhere: own." in alone
    assert "the rows of own (licence: unknown)" in alone
    for licences in (("MIT", None), (None, "MIT")):
        named = [{"dataset": f"/{n}/own", "licence": licence} for n, licence in enumerate(licences)]
        store.write_bytes("recipe.yaml", yaml.safe_dump({**changed, "train": {"phases": named}}).encode())
        write_card(store, trained=TRAINED)
        assert "the rows of own (licence: unknown)" in parts(store)[1]
    for untrue in ("teacher wrote", "were verified", "were left out", "The recipe is not known", "No model wrote"):
        assert untrue not in alone
    assert front["tags"] == ["longthought"]
    assert "language" not in front


def test_no_folder_and_no_address_of_the_maker_is_told(store: Store) -> None:
    write_card(store, trained=TRAINED)
    text = store.read_text("model/README.md")
    assert "sums.jsonl" in text
    for private in ("secret", "https://host", "10.0.0.1", store.root):
        assert private not in text


def test_a_run_without_anything_still_has_a_card(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_card(store)
    front, text = parts(store)
    assert "base_model" not in front
    assert "Not known: the run kept no figures." in text


def test_the_data_sets_hash_is_that_of_sha256sum(store: Store) -> None:
    folder = Path(store.root) / "dataset"
    files = sorted(path.name for path in folder.glob("*.parquet"))
    printed = subprocess.run(["sha256sum", *files], cwd=folder, capture_output=True, check=True).stdout
    assert data_hash(store) == hashlib.sha256(printed).hexdigest()
    assert len(files) == 3
