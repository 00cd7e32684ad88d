"""The gate before training on a tiny Qwen2: what it shows, and what it refuses with which line."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import yaml
from transformers import PreTrainedTokenizerFast, Qwen2Config

from jobs.gate import check_gate, gate_plan
from jobs.recipe import Recipe
from jobs.recipe_file import load
from pipeline.conversations import conversations
from pipeline.errors import Stop
from pipeline.training.rendered import facts_of, render

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRIPS = CHATML.replace("{{ message['content'] }}", "{{ message['content'].split('</think>')[-1] }}")
OPENS = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
SAID = "<think>\nTwice 2, so 4 é.\n</think>\n\nIt is \\boxed{4}."
TURNS = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": SAID}]


def tokenizer(*, template: str | None = CHATML, pad: str = "<|endoftext|>") -> PreTrainedTokenizerFast:
    """Bytes and Qwen2's special tokens; like Qwen2.5's, it pads with the end of text, not the end of a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate([*special, *letters])}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|endoftext|>", pad_token=pad, additional_special_tokens=special[1:]
    )
    fast.chat_template = template
    return fast


def made(folder: Path, *, positions: int = 1024, model: dict[str, Any] | None = None, **parts: Any) -> Recipe:
    """A recipe over a tiny Qwen2's configuration and tokenizer, and a data set of one row beside it."""
    tokenizer(template=parts.pop("template", CHATML), pad=parts.pop("pad", "<|endoftext|>")).save_pretrained(
        folder / "m"
    )
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "vocab_size": 272, "max_position_embeddings": positions}
    Qwen2Config(**(sizes | (model or {}))).save_pretrained(folder / "m")
    (folder / "data").mkdir(exist_ok=True)
    rows = parts.pop("rows", [{"messages": TURNS, "id": "a"}])
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "train-00000.parquet")
    path = tiny.recipe(folder, tiny.recorded(folder / "p.jsonl", problems=4))
    values = yaml.safe_load(path.read_text())
    values["student"] = {"model": str(folder / "m"), "engine": {"device": "cpu", "max_model_len": 512}}
    values["train"] |= {"phases": [{"name": "only", "dataset": str(folder / "data")}]} | parts.pop("train", {})
    path.write_text(yaml.safe_dump(values | parts))
    return load(str(path))


def refused(recipe: Recipe) -> str:
    with pytest.raises(Stop) as stop:
        check_gate(recipe)
    assert "\n" not in str(stop.value)
    return str(stop.value)


def warned(recipe: Recipe) -> list[str]:
    return [finding.text for finding in check_gate(recipe).found]


def test_a_sound_recipe_passes_without_a_word(tmp_path: Path) -> None:
    assert warned(made(tmp_path)) == []


def test_exactly_the_reply_and_its_end_are_marked_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gated = gate_plan(made(tmp_path))
    gated.show()
    page = capsys.readouterr().out
    marked = re.findall(r"\[\[(.*?)\]\]", page, flags=re.DOTALL)
    assert marked == [SAID + "<|im_end|>"]
    assert "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n[[<think>" in page
    assert "the gate is open" in page
    lines = dict(gated.lines)
    assert "parameters, all trained" in lines["model"]
    assert "1,024, theta 10,000" in lines["context"]


@pytest.mark.parametrize("template", [CHATML, OPENS])
def test_thoughts_are_kept_letter_for_letter_also_where_the_template_opens_them(template: str) -> None:
    shown = render("a", TURNS, tokenizer(template=template))
    assert shown.findings == ()
    whole = "".join(text for text, _ in shown.spans)
    assert whole.endswith(f"<|im_start|>assistant\n{SAID}<|im_end|>")
    assert [trained for _, trained in shown.spans] == [False, True]
    # One token a byte, and one for each special token: nothing but the reply's bytes and its end is trained on.
    assert shown.num_labels == len((SAID if template == CHATML else SAID.removeprefix("<think>\n")).encode()) + 1


def test_a_tokenizer_that_loses_the_thought_is_refused_and_one_that_rewrites_letters_is_warned_of() -> None:
    from tokenizers import normalizers

    for rule, kind, said in (
        (normalizers.Replace("Twice 2, so 4 é.", ""), "refusal", "its thought is not in what is trained on"),
        (
            normalizers.Replace("boxed{4}", "boxed{5}"),
            "refusal",
            "other text is trained on than its reply, from character",
        ),
        (normalizers.NFD(), "warning", "the tokenizer writes its reply another way"),
    ):
        reader = tokenizer()
        reader.backend_tokenizer.normalizer = rule
        (finding,) = render("a", TURNS, reader).findings
        assert finding.kind == kind
        assert said in finding.text


def test_a_template_that_strips_thoughts_is_said_and_does_no_harm_here(tmp_path: Path) -> None:
    (said,) = warned(made(tmp_path, template=STRIPS))
    assert "cuts thoughts out of replies" in said


def test_a_model_without_template_or_with_an_end_that_is_its_padding_is_refused(tmp_path: Path) -> None:
    assert "has no chat template" in refused(made(tmp_path, template=None))
    said = refused(made(tmp_path, pad="<|im_end|>"))
    assert "pads with its end token '<|im_end|>'" in said
    assert "set another pad_token" in said


def test_facts_of_a_tokenizer() -> None:
    facts = facts_of(tokenizer())
    assert (facts.end, facts.pad, facts.drops_thought, facts.size) == ("<|im_end|>", "<|endoftext|>", False, 259)
    assert facts_of(Bare()).end_id is None


class Bare(PreTrainedTokenizerFast):
    """A tokenizer with nothing set."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer, models

        super().__init__(tokenizer_object=Tokenizer(models.BPE(vocab={"a": 0}, merges=[])))


def test_an_example_longer_than_the_context_is_refused_with_what_to_set(tmp_path: Path) -> None:
    said = refused(made(tmp_path, positions=128))
    assert "train.window (the longest example is not known yet) has 512 tokens" in said
    assert "the 128 positions of" in said
    assert "set train.rope: {theta: 300000, positions: 512}" in said
    longer = {"rope": {"theta": 300_000, "positions": 512}}
    assert warned(made(tmp_path, positions=128, train=longer)) == []


def test_a_window_may_be_longer_than_the_context_where_every_example_is_shorter(tmp_path: Path) -> None:
    from dataclasses import replace

    from pipeline.training.gate import findings

    given = gate_plan(made(tmp_path, positions=512, train={"window": 1024})).given
    (phase,) = given.phases
    known = replace(given, phases=(replace(phase, longest=500),))
    assert [finding.text for finding in findings(known)] == []
    too_long = replace(given, phases=(replace(phase, longest=513),))
    assert "the longest example has 513 tokens" in findings(too_long)[0].text


def test_ranks_heads_adapters_and_attention_that_do_not_fit_are_said(tmp_path: Path) -> None:
    idle = {"workers": 3, "cpus_per_worker": 0.5, "batch_windows": 2}
    assert "leaves 33% of the work idle" in warned(made(tmp_path, train=idle))[0]
    said = refused(made(tmp_path, train={"workers": 8, "sequence_parallel": 8, "batch_windows": 8}))
    assert "sequence_parallel=8 can't share out the 4 heads" in said
    assert "one of 1, 2, 4" in said
    assert "no layer 'query'; there are q_proj" in refused(made(tmp_path, train={"lora": {"targets": ["query"]}}))
    assert "needs a GPU" in refused(made(tmp_path, train={"attention": "flash_attention_2"}))
    assert "has 259 tokens, the model's embedding 200 rows" in refused(made(tmp_path, model={"vocab_size": 200}))


def test_more_cpus_than_a_local_ray_has_are_refused_and_a_cluster_may_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"cluster": {"local_cpus": 2, "dashboard": False}}
    said = refused(made(tmp_path, train={"workers": 2, "cpus_per_worker": 4}, **here))
    assert said.startswith("train.workers=2 with train.cpus_per_worker=4 need 8 CPUs, Ray has 2 here: lower one")
    assert warned(made(tmp_path, train={"workers": 2, "cpus_per_worker": 1}, **here)) == []
    # Nothing is known of a cluster that is not connected.
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert warned(made(tmp_path, train={"workers": 2, "cpus_per_worker": 4}, **here)) == []


def test_a_model_too_large_is_refused_with_what_would_fit(tmp_path: Path) -> None:
    big = {"hidden_size": 8192, "intermediate_size": 29_568, "num_hidden_layers": 80, "num_attention_heads": 64}
    big |= {"num_key_value_heads": 8, "vocab_size": 152_064}
    on_gpus = {"device": "gpu", "window": 32_768, "rope": {"theta": 300_000, "positions": 32_768}, "batch_windows": 32}
    on_gpus |= {"gradient_checkpointing": True, "loss_chunk": 4096}

    def said(**train: Any) -> str:
        return refused(made(tmp_path, model=big, train=on_gpus | train))

    assert "set train.offload=optimizer train.sequence_parallel=2 (45 GiB)" in said(workers=16)
    assert "set train.offload=none train.sequence_parallel=4 (64 GiB)" in said(workers=32)
    nothing = said(workers=8, offload="optimizer", sequence_parallel=4)
    assert "needs about 203 GiB of the host's memory for each worker, train.host_memory_gib=200" in nothing
    assert "nothing fits on 8 workers; with train.workers=16 train.offload=optimizer" in nothing
    assert warned(made(tmp_path, model=big, train=on_gpus | {"workers": 32, "sequence_parallel": 4})) == []


def test_a_family_whose_memory_can_not_be_counted_is_said(tmp_path: Path) -> None:
    recipe = made(tmp_path)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"model_type": "olmo2"}))
    (said,) = warned(recipe)
    assert said.startswith(f"the memory of {tmp_path / 'm'} is not checked: its family is olmo2")


def test_a_data_set_of_another_schema_or_an_empty_one_is_one_line(tmp_path: Path) -> None:
    assert "has no column messages, only text" in refused(made(tmp_path, rows=[{"text": "a"}]))
    assert "ends with a message of 'user'" in refused(made(tmp_path, rows=[{"messages": TURNS[::-1]}]))
    recipe = made(tmp_path)
    pq.write_table(pa.Table.from_pylist([{"messages": TURNS}]).slice(0, 0), tmp_path / "data" / "train-00000.parquet")
    assert "holds no example: nothing to train on" in refused(recipe)
    (tmp_path / "data" / "train-00000.parquet").unlink()
    assert "has no train-*.parquet" in refused(recipe)


@pytest.mark.parametrize(
    "messages",
    [[], TURNS[:1], [{"role": "user"}, TURNS[1]], [None, TURNS[1]], [{"role": "x", "content": "a"}, TURNS[1]]],
)
def test_rows_that_are_no_conversation_are_refused(messages: Any) -> None:
    def held(rows: list[Any]) -> Any:
        table = pa.table({"messages": pa.array(rows)})
        return conversations(table, address="a.parquet", name="a", rows=range(7, 7 + len(rows)))

    assert held([TURNS]) == (["a:7"], [TURNS])
    with pytest.raises(Stop, match=r"a\.parquet: row 8"):
        held([TURNS, messages])


def test_a_long_reply_is_shown_cut_and_without_its_control_characters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    long = [TURNS[0], {"role": "assistant", "content": "\x1b[31m é" * 20_000}]
    gate_plan(made(tmp_path, rows=[{"messages": long, "id": "a"}])).show()
    page = capsys.readouterr().out
    assert len(page) < 10_000
    assert "\x1b" not in page
    assert "<|im_end|>]]" in page


def test_what_vllm_would_refuse_is_said_before_training(tmp_path: Path) -> None:
    source = {"name": "held", "format": "jsonl", "path": str(tmp_path / "p.jsonl"), "licence": "CC0"}
    held = {"evaluate": {"benchmarks": {"held": source}, "models": ["base", "student"]}}
    rope = {"rope": {"theta": 300_000, "positions": 512}}
    (said,) = warned(made(tmp_path, positions=128, train=rope, **held))
    assert "vLLM refuses to run" in said
    assert "max_model_len=512: its configuration states 128 positions" in said
    assert "is more than the 300 positions of the trained model" in refused(
        made(tmp_path, positions=300, train={"window": 256})
    )


def test_paper_passes_the_gate_on_paper(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gated = gate_plan(load("jobs/recipes/paper.yaml", [f"storage={tmp_path}"]))
    gated.show()
    gated.stop()
    page, lines = capsys.readouterr().out, dict(gated.lines)
    assert re.search(r"^ +32 +4 +> 64\.3 ", page, flags=re.MULTILINE)
    assert re.search(r"^ +16 +2 +113 +> 44\.9 \(102\)", page, flags=re.MULTILINE)
    assert re.search(r"^ +8 +2 +189 +h 53\.4 \(203\)", page, flags=re.MULTILINE)
    assert "72,706,203,648 parameters" in lines["model"]
    assert "extended to 32,768, theta 300,000" in lines["context"]
    assert "at 22,000 tokens/s" in lines["phase distill"]


def test_rows_from_outside_are_measured_not_taken_for_full_windows(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": "1?"}, {"role": "assistant", "content": "a" * n}] for n in (38, 78, 9000)]
    recipe = made(tmp_path, rows=[{"messages": messages} for messages in turns])
    # One token a byte and twenty around question and reply; what is longer than a window of 512 fills one.
    assert "about 672 tokens in 1 steps" in dict(gate_plan(recipe).lines)["phase only"]
    settled = recipe.model_copy(update={"estimate": recipe.estimate.model_copy(update={"trace_tokens": 100})})
    assert "about 1,200 tokens" in dict(gate_plan(settled).lines)["phase only"]
