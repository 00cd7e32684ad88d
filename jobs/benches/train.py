"""Training in real tokens a second: our loop against TRL's SFTTrainer, and under Ray Train against torchrun.

Both sides train the same model on the same examples, in windows of the same length, so many a step, with the same
precision, threads and fused AdamW. Ours goes the whole way: packs made on Ray, the loop with ZeRO-3, also on one rank.
Examples are real texts where OpenAI's recorded GSM8K solutions are beside the checkout: a question, and behind it a
thought that goes through four models' solutions before the right one.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.models import local_path
from cluster.packs import make_packs
from cluster.session import ClusterSettings, cores, session
from jobs.benches.result import Result
from jobs.benches.shared_time import Stepped, measured, rate
from jobs.benches.train_sides import TORCHRUN
from jobs.benches.verify import RECORDED
from pipeline.store import Store

MODEL = "SmolLM2-135M-Instruct"
_WINDOW, _SMALL_WINDOW = 2048, 1024
_EXAMPLES = 400
_SIDES = "jobs.benches.train_sides"


def train_trl() -> list[Result]:
    """Against the fastest packing that TRL has here; the headline has gradient checkpointing on, as both have."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed(folder, _rows(), window=_WINDOW, model=MODEL)
        return [
            _against_trl(folder, "train_trl", dtype="bfloat16", gradient_checkpointing=True),
            _against_trl(folder, "train_trl_kept", dtype="bfloat16", gradient_checkpointing=False),
            _against_trl(folder, "train_trl_float32", dtype="float32", gradient_checkpointing=True),
        ]


def train_ray() -> list[Result]:
    """Two ranks under Ray Train against the same loop and ranks under torchrun: the steps alone.

    The model is small, so that what Ray costs in each step shows. Ray's processes take their share of the cores also
    when they do nothing, which weighs where there is a core for each rank and none beside: so the second figure is
    against torchrun beside such a Ray, and shows what going through Ray Train costs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = str(small_model(folder / "model", hidden_size=256, layers=4, heads=4, intermediate_size=1024))
        packed(folder, _rows(), window=_SMALL_WINDOW, model=model)
        setup = setup_file(
            folder, model=model, device="cpu", workers=2, window=_SMALL_WINDOW, batch_windows=2, dtype="bfloat16"
        )
        sides = {"ray": side("ray", setup), "torchrun": side("ours", setup, ranks=2), "beside": side("beside", setup)}
        steps = measured(sides, folder=folder, warm_up=3, turn_s=8, turns=15)
    told("train_ray", steps)
    ours, bare, beside = (rate(steps[name]) for name in sides)
    name = "the same loop under torchrun"
    return [
        Result("train_ray", ours, bare, name, "tokens/s", ours / bare, goal=0.97),
        Result("train_ray_beside", ours, beside, f"{name} beside an idle Ray", "tokens/s", ours / beside, goal=0.97),
    ]


def setup_file(folder: Path, *, model: str, **train: Any) -> Path:
    """Write what a side is told; `train` are fields of TrainSettings."""
    file = folder / "setup.json"
    phases = [{"name": "bench", "generations": ["made"], "epochs": 10_000}]
    settings = {"phases": phases, "cpus_per_worker": 1.0, "lr": 1e-5, "schedule": "constant", "checkpoint_steps": 10**6}
    file.write_text(json.dumps({"store": str(folder), "model": model, "train": settings | train}))
    return file


def side(name: str, setup: Path, *, ranks: int | None = None) -> list[str]:
    """The command of a side; with `ranks`, under torchrun."""
    launched = [] if ranks is None else [*TORCHRUN, f"--nproc-per-node={ranks}", "-m"]
    return [sys.executable, "-m", *launched, _SIDES, name, str(setup)]


def packed(folder: Path, rows: Sequence[dict[str, Any]], *, window: int, model: str) -> None:
    """Write rows as a data set and pack them, as jobs.train does, into `packs` of the folder."""
    store = Store(str(folder))
    store.write_table("dataset/train-00000.parquet", pa.Table.from_pylist(list(rows)))
    with session(ClusterSettings(local_cpus=cores(), dashboard=False)):
        make_packs(
            store=store,
            folder="packs",
            source=(store, "dataset"),
            generations=["made"],
            split="train",
            model=model,
            window=window,
            too_long="drop",
            seed=1,
            cpus=0.5,
            made_of=f"{model} {window}",
        )


def small_model(
    folder: Path, *, hidden_size: int, layers: int, heads: int, intermediate_size: int, **more: Any
) -> Path:
    """Write a Qwen2 with random weights and SmolLM2's tokenizer; two key heads."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(local_path(MODEL))
    config = Qwen2Config(
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        intermediate_size=intermediate_size,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **{"vocab_size": len(tokenizer), **more},
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def told(name: str, steps: Mapping[str, Sequence[Stepped]]) -> None:
    """Print what a side's steps were like."""
    for side_, held in steps.items():
        slow, fast = (pick(step.tokens / step.seconds for step in held) for pick in (min, max))
        tokens, loss = (sum(values) / len(held) for values in zip(*((s.tokens, s.loss) for s in held), strict=True))
        print(
            f"{name}: {side_} {rate(held):,.0f} tokens/s over {len(held)} steps ({slow:,.0f} to {fast:,.0f}), "
            f"{tokens:,.0f} tokens a step, loss {loss:.4f}, {max(s.memory for s in held) / 2**30:.1f} GiB at most"
        )


def _against_trl(folder: Path, name: str, **train: Any) -> Result:
    setup = setup_file(folder, model=MODEL, device="cpu", workers=1, window=_WINDOW, batch_windows=1, **train)
    sides = {"ours": side("ours", setup, ranks=1), "bfd": side("bfd", setup), "wrapped": side("wrapped", setup)}
    steps = measured(sides, folder=folder, warm_up=1, turn_s=5, turns=3)
    told(name, steps)
    best = max(("bfd", "wrapped"), key=lambda strategy: rate(steps[strategy]))
    ours, peer = rate(steps["ours"]), rate(steps[best])
    return Result(name, ours, peer, f"TRL's SFTTrainer, packing {best}", "tokens/s", ours / peer, goal=1.3)


def _rows() -> list[dict[str, Any]]:
    asked = _recorded() if RECORDED.is_file() else [_made(n) for n in range(_EXAMPLES)]
    rows = []
    for number, (question, tries) in enumerate(asked[:_EXAMPLES]):
        *wrong, last = tries
        thought = "\n\nWait, let me go through it again.\n\n".join(wrong)
        reply = f"<think>\n{thought}\n</think>\n\n{last}"
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        rows.append({"messages": messages, "generation": "made", "problem_id": f"{number:05d}", "draw": 0})
    return rows


def _recorded() -> list[tuple[str, list[str]]]:
    found = []
    for line in RECORDED.open():
        row = json.loads(line)
        tries = [said["solution"] for said in row.values() if isinstance(said, dict)]
        found.append((row["question"], [*tries, row["ground_truth"]]))
    return found


def _made(number: int) -> tuple[str, list[str]]:
    """A question and tries of the same shape."""
    tries = [
        "\n".join(f"First {number + n} and {n}, so it comes to {number + 2 * n}." for n in range(place, place + 9))
        for place in range(5 + number % 4)
    ]
    return f"How many are {number} and {number + 9}, counted one after the other?", tries
