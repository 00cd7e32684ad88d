"""The training benchmarks' own arithmetic, and that both sides of train_trl train on the same thing."""

import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import ROOT, tiny_model

from cluster.packs import read_meta
from jobs.benches.shared_time import Line, measured, rate, steps
from jobs.benches.train import packed, setup_file, side
from pipeline.store import Store


def test_a_step_counts_the_seconds_in_which_its_side_ran() -> None:
    ran = [(10.0, 14.0), (20.0, 23.0), (30.0, 31.0)]
    lines = [Line(12.0, 5, 1, 0, 0), Line(22.0, 6, 1, 0, 0), Line(30.5, 7, 1, 0, 0)]

    found = steps(lines, ran)

    # 10 to 12; 12 to 14 and 20 to 22; 22 to 23 and 30 to 30.5.
    assert [step.seconds for step in found] == [2.0, 4.0, 1.5]
    assert rate(found) == 18 / 7.5


def test_sides_take_turns_and_stand_still_meanwhile(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "while True:\n"
        "    time.sleep(0.02)\n"
        "    open(sys.argv[1], 'a').write(f'{time.monotonic()} 1 0 0 0\\n')\n"
    )
    command = [sys.executable, "-c", program]

    found = measured({"a": command, "b": command}, folder=tmp_path, warm_up=2, turn_s=0.3, turns=2)

    ends = {name: np.loadtxt(tmp_path / f"{name}.steps")[2:, 0] for name in "ab"}
    both = sorted([(end, "a") for end in ends["a"]] + [(end, "b") for end in ends["b"]])
    changes = sum(first[1] != second[1] for first, second in itertools.pairwise(both))
    # A start each, then the turns a b, b a; side by side there would be a change at nearly every step.
    assert len(both) > 20
    assert changes <= 5
    assert all(sum(step.seconds for step in found[name]) < 1.5 for name in "ab")


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_both_sides_have_the_same_first_loss(tmp_path: Path) -> None:
    model = str(tiny_model(tmp_path / "model"))
    rows = [_row(number) for number in range(40)]
    packed(tmp_path, rows, window=256, model=model)
    windows = read_meta(Store(str(tmp_path)), "packs").windows
    train = {"window": 256, "batch_windows": windows, "dtype": "float32", "device": "cpu", "workers": 1}
    setup = setup_file(tmp_path, model=model, **train)

    # One step takes all windows, so the order and the packing don't matter.
    losses = [
        _first_loss(side(name, setup, ranks=ranks), tmp_path / name) for name, ranks in (("ours", 1), ("bfd", None))
    ]

    assert windows > 5
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[0] == pytest.approx(np.log(260), rel=0.1)


def _row(number: int) -> dict[str, object]:
    said = [("user", f"How many are {number}?"), ("assistant", "one and " * (1 + number % 9) + f"\n{number}")]
    messages = [{"role": role, "content": content} for role, content in said]
    return {"messages": messages, "generation": "made", "problem_id": f"{number:05d}", "draw": 0}


def _first_loss(command: list[str], file: Path) -> float:
    process = subprocess.Popen([*command, str(file)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if file.exists() and "\n" in file.read_text():
                return float(file.read_text().split()[2])
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(20)
    raise AssertionError("no step")
