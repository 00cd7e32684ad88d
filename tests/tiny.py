"""Runs for tests: a tiny model, recorded answers, recipes, and the jobs as their users start them."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
WRONG_KEY = {"WRONG_KEY": "secret-key-1234567"}
"""A key that no teacher takes; the tests' shared Ray has it in its environment."""
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def tiny_tokenizer(folder: Path, template: str | None = TEMPLATE) -> Path:
    """A folder with nothing but a tokenizer: each byte is a token, after four special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|text|>", "<|start|>", "<|end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate([*special, *letters])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|text|>", additional_special_tokens=special[2:]
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    return folder


def tiny_model(folder: Path) -> Path:
    """A random two-layer Llama with a byte-level tokenizer and a chat template, in a Hugging Face folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tiny_tokenizer(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4 + 256,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def recorded(path: Path, *, problems: int) -> Path:
    """Problems `n + n`, each with a right recorded answer (draw 0) and one that is right for even n (draw 1)."""
    with path.open("w") as lines:
        for n in range(problems):
            right, other = f"<think>\n{n} twice.\n</think>\n\n\\boxed{{{2 * n}}}", f"\\boxed{{{2 * n + n % 2}}}"
            row = {"question": f"What is {n} + {n}?", "answer": 2 * n, "replies": {"a": right, "b": other}}
            lines.write(json.dumps(row) + "\n")
    return path


def recipe(folder: Path, problems: Path, **changes: Any) -> Path:
    """A recipe over recorded problems with the stand-in teacher; `changes` replace its sections."""
    values = {
        "name": "made",
        "storage": str(folder / "runs"),
        "seed": 3,
        "shards": 4,
        "cluster": {"local_cpus": 2, "dashboard": False},
        "sources": [
            {
                "name": "sums",
                "format": "jsonl",
                "path": str(problems),
                "fields": {"prompt": "question"},
                "licence": "CC0",
            }
        ],
        "teacher": {
            "model": "recorded",
            "standin": {"answers": "replay", "path": str(problems), "replies": ["replies.a", "replies.b"]},
            "completion_usd_per_mtok": 1.0,
        },
        "student": {
            "model": str(folder / "model"),
            "engine": {"device": "cpu", "max_model_len": 512, "in_flight": 8, "compile": False, "cpus": 0.5},
        },
        "distill": {"generations": [{"name": "long", "engine": "teacher", "draws": 2, "sampling": {"max_tokens": 64}}]},
        "train": {
            "device": "cpu",
            "workers": 2,
            "cpus_per_worker": 0.8,
            "window": 512,
            "batch_windows": 2,
            "lr": 1e-3,
            "gradient_checkpointing": False,
            "loss_chunk": 128,
            "phases": [{"name": "only", "generations": ["long"], "epochs": 2}],
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


def alone(body: Callable[[Path], None], folder: Path) -> None:
    """Run a test's body in a process of its own: one that is a driver of Ray a second time may wait for ever."""
    process = multiprocessing.get_context("spawn").Process(target=body, args=(folder,))
    process.start()
    process.join(timeout=240)
    if process.is_alive():
        process.kill()
        raise TimeoutError("the test's process did not end in 240 s")
    assert process.exitcode == 0, "what went wrong is above, on standard error"


def start(job: str, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
    """A job as its user starts it, from the project's folder."""
    command = [sys.executable, "-m", f"jobs.{job}", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(job: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A job from start to end."""
    process = start(job, *arguments, **environment)
    out, err = process.communicate(timeout=500)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def succeed(job: str, *arguments: object) -> None:
    """A job that must end well."""
    ended = run(job, *arguments)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]


def summary(folder: Path, job: str) -> dict[str, Any]:
    """What a job of the recipe above left in its summary."""
    return json.loads((folder / "runs" / "made" / "summary" / f"{job}.json").read_text())
