"""Choosing a part of a shard at a time: the same rows as all at once, in memory that is flat."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rows import trace

from pipeline.choose import ChooseSettings
from pipeline.choosing.example import examples, pairs
from pipeline.choosing.judge import judge
from pipeline.choosing.written import example_parts, pair_parts, read_shard
from pipeline.record import Trace, problem_id, to_table
from pipeline.store import Store

ROOT = Path(__file__).resolve().parent.parent
NAME = "traces/shard-00000.parquet"
MEGABYTE = 1 << 20


def draws(*, problems: int, size: int, draws: int = 4) -> list[Trace]:
    """Draws of problems, neither in order nor side by side; the fifth has the first one's text, and some are wrong."""
    numbers = np.random.default_rng(3).permutation(problems * draws).tolist()
    return [
        trace(
            f"What is {number % problems} and two?",
            draw=(draw := number // problems),
            generation=("long", "self")[number % problems % 2],
            thought=f"{number % problems} {draw % 4}" * (size // 4),
            verdict="wrong" if number % 5 == 0 else "correct",
            vote=draw // 3,
        )
        for number in numbers
    ]


@pytest.mark.parametrize("part", [1, 7])
def test_candidates_are_the_same_in_whatever_parts_a_shard_is_read(part: int) -> None:
    traces = draws(problems=9, size=40, draws=5)
    tables = [
        judge(
            lambda step=step: [to_table(traces[at : at + step], Trace) for at in range(0, len(traces), step)],
            settings=ChooseSettings(
                variety={"apart": True}, pairs={"per_problem": 2}, agreement={"at_least": 0.5}, per_problem=3
            ),
            seed=1,
            held_out=frozenset([problem_id("What is 3 and two?")]),
            count=lambda texts: [len(text) for text in texts],
            rules=lambda one, tokens: ("loop", "again") if one.thought.startswith("4") else None,
            leaks=lambda many: [None] * len(many),
            found=pytest.fail,
        )
        for step in (part, len(traces))
    ]
    assert tables[0].equals(tables[1])
    assert set(tables[0]["drop"].to_pylist()) >= {None, "wrong", "same_text", "in_benchmark", "loop", "few_agree"}
    fit = {line["id"] for line in tables[0].to_pylist() if line["drop"] is None}
    assert fit == {line["id"] for line in tables[0].to_pylist() if line["sketch"] is not None}


def test_examples_and_pairs_are_those_of_all_rows_at_once_in_order_and_bounded(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    traces = draws(problems=12, size=MEGABYTE)
    store.write_table(NAME, to_table(traces, Trace))
    judged = pa.table({"student_tokens": list(range(48)), "agreement": [row / 48 for row in range(48)]})
    shard = read_shard(store, NAME, judged)
    rows = [row for row in range(48) if row % 7]
    found = list(example_parts(shard, np.array(rows), {"self": "Solve: {prompt}"}))
    rows.sort(key=lambda row: (traces[row].id, traces[row].generation, traces[row].draw))
    expected = examples(
        [traces[row] for row in rows],
        student_tokens=rows,
        agreement=[row / 48 for row in rows],
        templates={"self": "Solve: {prompt}"},
    )
    assert pa.concat_tables(found).equals(expected)
    assert len(found) > 2
    assert max(part.nbytes for part in found) < 17 * MEGABYTE

    sides = [(row, (row + 5) % 48) for row in range(0, 48, 3)]
    found = list(pair_parts(shard, sides, {}))
    sides.sort(key=lambda pair: (traces[pair[0]].id, traces[pair[0]].generation, traces[pair[0]].draw))
    expected = pairs([(traces[one], traces[other]) for one, other in sides], student_tokens=sides, templates={})
    assert pa.concat_tables(found).equals(expected)
    assert len(found) > 1
    assert list(example_parts(shard, np.zeros(0, dtype=np.int64), {})) == []


def test_memory_is_flat_in_the_length_of_a_shard(tmp_path: Path) -> None:
    peaks = []
    for name, problems in (("one", 48), ("twice", 96)):
        ran = subprocess.run(
            [sys.executable, "-c", _CHOOSES, str(tmp_path / name), str(problems)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert ran.returncode == 0
        peaks.append(int(ran.stdout) // 1024)
    # 48 MB more of text; held at once they are several times that.
    assert peaks[1] - peaks[0] < 40, f"{peaks} MB"


_CHOOSES = """
import resource, sys
sys.path.insert(0, "tests")
import numpy as np
import pyarrow as pa
from rows import trace
from pipeline.choose import ChooseSettings
from pipeline.choosing.judge import judge
from pipeline.choosing.written import example_parts, read_shard
from pipeline.record import Trace, to_table
from pipeline.store import Store

store, problems, name = Store(sys.argv[1]), int(sys.argv[2]), "traces/shard-00000.parquet"
with store.writing(name) as write:
    for number in range(problems):
        draws = [trace(f"What is {number}?", draw=draw, thought=f"{number} {draw} " * 32768) for draw in range(4)]
        write(to_table(draws, Trace))
judged = judge(
    lambda: store.read_parts(name),
    settings=ChooseSettings(),
    seed=1,
    held_out=frozenset(),
    count=lambda texts: [len(text) for text in texts],
    rules=lambda one, tokens: None,
    leaks=lambda many: [None] * len(many),
    found=print,
)
made = example_parts(read_shard(store, name, judged), np.arange(4 * problems), {})
assert sum(part.num_rows for part in made) == 4 * problems
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
