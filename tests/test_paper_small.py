"""The paper's recipe in small: two phases, an extended context, shared windows, two CPU ranks and a tiny Qwen2."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import run, tiny_model

pytestmark = pytest.mark.ray
HELD_OUT = "Tom has 4 red pens and 7 blue pens in a box. How many pens has he in all?"


def tiny_qwen2(folder: Path) -> Path:
    """A random Qwen2 whose context is 64 tokens, with the tokenizer of the tiny Llama."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tiny_model(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        # More rows than tokens, as Qwen has.
        vocab_size=len(tokenizer) + 12,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_theta=10000.0,
        tie_word_embeddings=False,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def rows(folder: Path, texts: list[str], *, asked: str = "Count.") -> Path:
    """A data set of someone else's: messages and nothing more; `asked` is what its first row is asked."""
    folder.mkdir()
    prompts = [asked, *["Count."] * (len(texts) - 1)]
    turns = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    pq.write_table(pa.table({"messages": turns}), folder / "train-00000.parquet")
    return folder


def test_the_papers_recipe_trains_a_tiny_qwen2_on_two_ranks(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    model = tiny_qwen2(tmp_path / "qwen2")
    exam = tmp_path / "exam.jsonl"
    exam.write_text(json.dumps({"problem": HELD_OUT, "answer": "11"}))
    texts = [f"Solution {n}: {n} and {n} are {2 * n}." for n in range(40)]
    solutions = rows(tmp_path / "solutions", texts, asked=HELD_OUT)
    thoughts = rows(tmp_path / "thoughts", [f"<think>\n{n} {'and on ' * 15}\n</think>\n\n{n}" for n in range(40)])
    given = [
        "jobs/recipes/paper.yaml",
        f"storage={tmp_path / 'runs'}",
        f"student.model={model}",
        "student.engine.max_model_len=256",
        "cluster.local_cpus=2",
        "cluster.dashboard=false",
        "train.device=cpu",
        "train.workers=2",
        "train.cpus_per_worker=0.8",
        "train.sequence_parallel=2",
        "train.window=256",
        "train.batch_windows=4",
        "train.loss_chunk=64",
        "train.attention=auto",
        "train.lr=1e-3",
        "train.rope={theta: 50000, positions: 256}",
        f"train.phases.0.dataset={solutions}",
        f"train.phases.1.dataset={thoughts}",
        "train.phases.0.generations=[]",
        "train.phases.1.generations=[]",
        "train.check_export=[transformers]",
        # All rows come from outside.
        "sources=[]",
        "distill.generations=[]",
        f"evaluate.benchmarks={{exam: {{name: exam, format: jsonl, path: {exam}}}}}",
    ]
    unread = run("train", *given)
    assert unread.returncode == 1
    assert "may be problems of evaluate.benchmarks, which are not read yet" in unread.stderr.splitlines()[-1]
    idle = run("distill", *given)
    assert (idle.returncode, idle.stderr.count("distill has nothing to do")) == (2, 1)
    assert run("curate", *given).returncode == 0
    refused = run("train", *given, "train.rope=null")
    assert refused.returncode == 1
    assert "rope" in refused.stderr.splitlines()[-1]

    ended = run("train", *given)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    made = json.loads((tmp_path / "runs" / "paper" / "summary" / "train.json").read_text())
    format_, distill = made["phases"]
    assert (format_["name"], distill["name"]) == ("format", "distill")
    assert (format_["examples"], format_["left_out"]) == (39, {"in_benchmark": 1})
    assert (distill["examples"], distill["left_out"]) == (40, {})
    # The second phase starts from the first one's model, and three epochs of thoughts are learnt.
    assert distill["loss_last"] < distill["loss_first"] < format_["loss_first"]
    assert made["opened"]["transformers"]["mean_difference"] < 0.1
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "runs" / "paper" / "model", dtype=torch.bfloat16)
    assert opened.config.max_position_embeddings == 256
    assert opened.config.rope_parameters["rope_theta"] == 50000
