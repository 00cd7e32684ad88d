"""Training on one GPU: tokens/s, the share of its peak that is used (MFU), and peak memory against the windows' length.

The model has the shape of Qwen2.5-0.5B and random weights; its documents fill their windows, so attention is at its
most. TRL's SFTTrainer is the peer at each length.
"""

import tempfile
from pathlib import Path

from jobs.benches.result import Result
from jobs.benches.shared_time import Stepped, measured, rate
from jobs.benches.train import packed, setup_file, side, small_model
from pipeline.training.flops import peak_flops

_WINDOWS = (4096, 16384, 32768)
_QWEN = {"hidden_size": 896, "layers": 24, "heads": 14, "intermediate_size": 4864, "vocab_size": 151936}


def train_gpu() -> list[Result]:
    """A result for each length; none, and a line that says so, where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        print("train_gpu: no GPU here")
        return []
    print(f"train_gpu: {torch.cuda.get_device_name()}")
    with tempfile.TemporaryDirectory() as folder:
        model = small_model(Path(folder) / "model", max_position_embeddings=max(_WINDOWS), **_QWEN)
        return [_at(Path(folder) / str(window), model, window) for window in _WINDOWS]


def _at(folder: Path, model: Path, window: int) -> Result:
    packed(folder, _rows(window), window=window, model=str(model))
    setup = setup_file(
        folder, model=str(model), device="gpu", workers=1, window=window, batch_windows=4, dtype="bfloat16"
    )
    sides = {"ours": side("ours", setup, ranks=1), "trl": side("bfd", setup)}
    # One after the other: a stopped side would keep its memory of the GPU.
    steps = {
        name: measured({name: command}, folder=folder, warm_up=2, turn_s=20, turns=1)[name]
        for name, command in sides.items()
    }
    for name, held in steps.items():
        print(f"train_gpu_{window}: {name} {rate(held):,.0f} tokens/s, {_gib(held):.1f} GiB at most")
    print(f"train_gpu_{window}: ours has {_mfu(steps['ours'])} of the GPU's peak")
    ours, peer = rate(steps["ours"]), rate(steps["trl"])
    return Result(f"train_gpu_{window}", ours, peer, "TRL's SFTTrainer, bfd", "tokens/s", ours / peer, goal=1.0)


def _gib(steps: list[Stepped]) -> float:
    return max(step.memory for step in steps) / 2**30


def _mfu(steps: list[Stepped]) -> str:
    import torch

    peak = peak_flops(torch.cuda.get_device_name())
    used = sum(step.flops for step in steps) / sum(step.seconds for step in steps)
    return f"{used / 1e12:,.0f} TFLOP/s, of an unknown part" if peak is None else f"{used / peak:.1%}"


def _rows(window: int) -> list[dict[str, object]]:
    """64 examples that nearly fill a window each: a word is a token."""
    rows: list[dict[str, object]] = []
    for number in range(64):
        reply = " one" * (window - 64 - number)
        messages = [{"role": "user", "content": f"Count, {number}."}, {"role": "assistant", "content": reply}]
        rows.append({"messages": messages, "generation": "made", "problem_id": f"{number:05d}", "draw": 0})
    return rows
