"""Training on one GPU: tokens/s, the share of its peak that is used (MFU), and peak memory against the windows' length.

The model has the shape of Qwen2.5-0.5B and random weights; its documents fill their windows, so attention is at its
most. TRL's SFTTrainer is the peer at each length.
"""

import tempfile
from pathlib import Path

from cluster.models import local_path
from jobs.benches.result import Result
from jobs.benches.shared_time import Stepped, measured, rate
from jobs.benches.train import packed, setup_file, side

_WINDOWS = (4096, 16384, 32768)
_TOKENIZER = "SmolLM2-135M-Instruct"


def train_gpu() -> list[Result]:
    """A result for each length; none, and a line that says so, where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        print("train_gpu: no GPU here")
        return []
    print(f"train_gpu: {torch.cuda.get_device_name()}")
    with tempfile.TemporaryDirectory() as folder:
        model = _model(Path(folder) / "model")
        return [_at(Path(folder) / str(window), model, window) for window in _WINDOWS]


def _at(folder: Path, model: Path, window: int) -> Result:
    packed(folder, _rows(window), window=window, model=str(model))
    setup = setup_file(
        folder, model=str(model), device="gpu", workers=1, window=window, batch_windows=4, dtype="bfloat16"
    )
    sides = {"ours": side("ours", setup, ranks=1), "trl": side("bfd", setup)}
    # Both are on the one GPU: what the stopped one has in flight is short, and its memory stays its own.
    steps = measured(sides, folder=folder, warm_up=2, turn_s=10, turns=3)
    for name, held in steps.items():
        print(f"train_gpu_{window}: {name} {rate(held):,.0f} tokens/s, {_gib(held):.1f} GiB at most")
    ours, peer = rate(steps["ours"]), rate(steps["trl"])
    return Result(f"train_gpu_{window}", ours, peer, "TRL's SFTTrainer, bfd", "tokens/s", ours / peer, goal=1.0)


def _gib(steps: list[Stepped]) -> float:
    return max(step.memory for step in steps) / 2**30


def _model(folder: Path) -> Path:
    """Random weights in the shape of Qwen2.5-0.5B, with a small tokenizer."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(local_path(_TOKENIZER))
    config = Qwen2Config(
        vocab_size=151936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        max_position_embeddings=max(_WINDOWS),
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _rows(window: int) -> list[dict[str, object]]:
    """64 examples that nearly fill a window each: a word is a token."""
    rows: list[dict[str, object]] = []
    for number in range(64):
        reply = " one" * (window - 64 - number)
        messages = [{"role": "user", "content": f"Count, {number}."}, {"role": "assistant", "content": reply}]
        rows.append({"messages": messages, "generation": "made", "problem_id": f"{number:05d}", "draw": 0})
    return rows
