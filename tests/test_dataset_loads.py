"""A data set made by our own code opens in the libraries that it is for: datasets, TRL, and a Markdown reader."""

import math
import re
from pathlib import Path

import pytest
from made_dataset import made_run
from tiny import TEMPLATE, tiny_model

from pipeline.store import Store

# The template of the tiny model, with the marks that tell a trainer which tokens are the assistant's.
_MARKED = TEMPLATE.replace(
    "{{ message['content'] }}<|end|>",
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|end|>{% endif %}",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def folder(store: Store) -> Path:
    return Path(store.root) / "dataset"


def test_files_and_folder_load_in_datasets(folder: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    whole = load_dataset("parquet", data_files=str(folder / "*.parquet"), cache_dir=str(tmp_path), split="train")
    assert whole.num_rows == 10
    assert whole[0]["messages"][-1]["content"].startswith("<think>")
    splits = load_dataset(str(folder), cache_dir=str(tmp_path))
    assert {name: rows.num_rows for name, rows in splits.items()} == {"train": 8, "validation": 2}
    assert set(splits["train"]["problem_id"]).isdisjoint(splits["validation"]["problem_id"])
    pairs = load_dataset(str(folder), "preference", split="train", cache_dir=str(tmp_path))
    assert set(pairs.column_names) >= {"prompt", "chosen", "rejected"}


def test_one_step_of_trl_on_the_examples_and_on_the_pairs(folder: Path, tmp_path: Path) -> None:
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    model = tiny_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = _MARKED
    same = {"output_dir": str(tmp_path / "out"), "max_steps": 1, "report_to": [], "use_cpu": True, "bf16": False}
    same |= {"per_device_train_batch_size": 2, "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}
    examples = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache")).select_columns(["messages"])
    sft = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=SFTConfig(assistant_only_loss=True, max_length=512, **same),
        train_dataset=examples,
        processing_class=tokenizer,
    )
    trained = sft.train_dataset[0]
    inside = [label for label in trained["labels"] if label != -100]
    assert tokenizer.decode(inside) == examples[0]["messages"][-1]["content"] + "<|end|>"
    assert math.isfinite(sft.train().training_loss)

    pairs = load_dataset(str(folder), "preference", split="train", cache_dir=str(tmp_path / "cache"))
    dpo = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=DPOConfig(max_length=512, **same),
        train_dataset=pairs.select_columns(["prompt", "chosen", "rejected"]),
        processing_class=tokenizer,
    )
    # Before the first step both models are one: the loss is that of a coin.
    assert dpo.train().training_loss == pytest.approx(math.log(2), abs=1e-3)


def test_the_card_renders(folder: Path) -> None:
    from huggingface_hub import DatasetCard
    from markdown_it import MarkdownIt

    card = DatasetCard.load(folder / "README.md")
    assert card.data.pretty_name == "made"
    assert card.data.license == ["apache-2.0", "unknown"]
    assert [config["config_name"] for config in card.data.configs] == ["default", "preference"]
    html = MarkdownIt("commonmark").enable("table").render(card.text)
    images = re.findall(r'<img src="([^"]+)"', html)
    assert {"plots/funnel.png", "plots/lengths.png", "plots/pass_rates.png", "plots/subjects.png"} == set(images)
    for image in images:
        assert (folder / image).read_bytes().startswith(b"\x89PNG")
    rows = [re.findall(r"<t[hd]", row) for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL)]
    assert html.count("<table>") == html.count("</table>") > 8
    assert len(rows) > 30
    # A row that failed to parse would be left over as text.
    assert not re.search(r"<p>\s*\|", html)
    assert "more|sums" in html
    assert "<h2>The funnel</h2>" in html
