"""One recipe and seed: one worker that is killed in every step, or four left alone, and the data set is the same bytes.

The problems and the teachers' answers are real (GSM8K and OpenAI's recorded solutions, right and wrong). Planted among
them is what makes the order of arrival matter: the same problem in several files, and in other words.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_choose_ray import tokenizer
from tiny import ROOT, recipe

pytestmark = [pytest.mark.ray, pytest.mark.data]

DATA = ROOT.parent / "shared" / "data" / "gsm8k_model_solutions.jsonl"
TEACHERS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
PROBLEMS, HELD_OUT, EXAMPLES = 80, 8, 48
PRICES = {"prompt_usd_per_mtok": 0.5, "completion_usd_per_mtok": 1.0}
SHARDS, FILES = 4, 4
STEPS = {"curate": "problems", "distill": "traces", "choose": "choices"}
# Where each step's work shows, stage after stage, and the most files there at which its end is still far.
STAGES = {
    "curate": {
        "problems/work/read/*.json": FILES,
        "problems/work/settled/shard-*": SHARDS,
        "problems/work/near/members/shard-*": SHARDS,
        "problems/shard-*": SHARDS - 1,
    },
    "distill": {"ledger/problems/*/[0-9]*": 4, "traces/shard-*": SHARDS - 1},
    "choose": {"choosing/*/candidates/shard-*": SHARDS, "choices/shard-*": SHARDS - 1},
}
EXAMPLE = ("problem_id", "generation", "draw")
PARTS = {
    "dataset/train-*": EXAMPLE,
    "dataset/validation-*": EXAMPLE,
    "dataset/preference/pairs-*": (*EXAMPLE[:2], "chosen_draw"),
    "choices/shard-*": ("id", "generation", "draw"),
}
CHOOSE = {
    "per_problem": 3,
    "order": "seeded",
    "quotas": {"source": {"second": {"share_at_most": 0.25}}},
    "target": {"rows": EXAMPLES},
    "variety": {"spread": ["source"], "apart": True},
    "validation": 0.2,
    "pairs": {"per_problem": 2},
}


@dataclass(frozen=True)
class Life:
    """A run of the three steps: where it lies, and how it is started."""

    made: Path
    asked: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)

    @contextmanager
    def started(self, job: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A step as its user starts it, in a process group of its own; it is killed with all that it started when the
        block ends before it does."""
        with self.said(job).open("wb") as said:
            driver = subprocess.Popen(
                [sys.executable, "-m", f"jobs.{job}", *self.asked],
                cwd=ROOT,
                env=self.environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            yield driver
        finally:
            if driver.poll() is None:
                kill(driver)

    def said(self, job: str) -> Path:
        """What the step says goes into this file."""
        return self.made.parent / f"{job}.log"

    def finish(self, job: str) -> None:
        """A step from start to end."""
        with self.started(job) as driver:
            ended = driver.wait(timeout=300)
        assert ended == 0, f"{job}: {self.said(job).read_text()[-3000:]}"

    def kill(self, job: str, pattern: str, files: int) -> None:
        """A step from its start until so many files are there."""
        with self.started(job) as driver:
            while len(list(self.made.glob(pattern))) < files:
                assert driver.poll() is None, f"{job}: {self.said(job).read_text()[-3000:]}"
                time.sleep(0.005)

    def summary(self, job: str) -> dict[str, Any]:
        """What the step told at its end."""
        return json.loads((self.made / "summary" / f"{job}.json").read_text())


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe."""
    if not DATA.exists():
        pytest.skip(f"needs {DATA.name} beside the checkout")
    folder = tmp_path_factory.mktemp("same")
    rows = planted([json.loads(line) for line in DATA.read_text().splitlines()[:PROBLEMS]])
    # Each problem's copies come by different files, and which is read first is up to the cluster.
    for number in range(FILES):
        written(folder / f"{('first', 'second')[number // 2]}-{number}.jsonl", rows[number::FILES])
    fields = {"prompt": "question", "solution": "solution"}
    source = {"format": "jsonl", "fields": fields, "licence": "MIT"}
    held_out = written(folder / "held_out.jsonl", [row for row in rows if "-" not in row["id"]][:HELD_OUT])
    replies = [f"replies.{name}" for name in TEACHERS]
    standin = {"answers": "replay", "path": str(written(folder / "all.jsonl", rows)), "replies": replies}
    slow = {"latency_s": 0.1, "latency_sigma": 0.5, "share_429": 0.02, "share_500": 0.02}
    sampling = {"max_tokens": 512}
    tokenizer(folder / "model")
    return recipe(
        folder,
        folder,
        shards=SHARDS,
        sources=[{**source, "name": name, "path": str(folder / f"{name}-*.jsonl")} for name in ("first", "second")],
        evaluate={"benchmarks": {"held-out": {**source, "name": "held-out", "path": str(held_out)}}},
        teacher={"model": "recorded", "in_flight": 16, **PRICES, "standin": {**standin, **slow}},
        distill={"generations": [{"name": "long", "engine": "teacher", "draws": len(TEACHERS), "sampling": sampling}]},
        choose=CHOOSE,
    )


def planted(recorded: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The problems as a source has them; every second one comes again word for word, every third in other words."""
    rows = []
    for number, line in enumerate(recorded):
        solution, _, answer = line["ground_truth"].rpartition("A: ")
        replies = {name: line[name]["solution"] for name in TEACHERS}
        row = {"id": str(number), "solution": solution, "answer": answer, "replies": replies}
        other = line["question"].strip().rstrip(".?") + ", please?"
        texts = {"": line["question"], "-again": line["question"], "-other": other}
        wanted = ["", *["-again"][: number % 2], *["-other"][: number % 3 == 0]]
        rows += [row | {"id": f"{number}{name}", "question": texts[name]} for name in wanted]
    return rows


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@contextmanager
def ray_of_its_own() -> Iterator[dict[str, str]]:
    """An environment in which each command starts a Ray of its own, away from any other on this machine."""
    with tempfile.TemporaryDirectory(prefix="same-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        outside = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        # No worker is started before it has work: a dozen Rays start here.
        yield outside | {"TMPDIR": folder, "RAY_prestart_worker_first_driver": "0"}


def unbroken(life: Life) -> None:
    for job in STEPS:
        life.finish(job)


def broken(life: Life, moments: Mapping[str, tuple[str, int]]) -> None:
    """Each step is killed at its moment, found half done, and started again."""
    for job, (pattern, files) in moments.items():
        life.kill(job, pattern, files)
        step = life.made / ("dataset" if job == "choose" else STEPS[job]) / "step.json"
        there = sorted(life.made.glob(pattern))
        print(f"{job} was killed at {len(there)} of {pattern}, asked for {files}")
        assert len(there) >= files
        assert not (life.made / "summary" / f"{job}.json").exists(), f"{job} was over before it was killed"
        assert not step.exists() or not json.loads(step.read_text())["done"]
        finished = {path: path.stat().st_mtime_ns for path in life.made.glob(f"{STEPS[job]}/shard-*")}
        life.finish(job)
        assert {path: path.stat().st_mtime_ns for path in finished} == finished, "what was finished was made again"


def kill(driver: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its group, and wait until all that it started is gone."""
    family = psutil.Process(driver.pid).children(recursive=True)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    # What Ray put into groups of its own ends when it misses the rest.
    give_up = time.monotonic() + 30
    while any(lives(process) for process in family):
        assert time.monotonic() < give_up, "some of its processes are still there"
        time.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def content(life: Life) -> dict[str, tuple[int, str]]:
    """Of each part of the data set the rows, and the hash of its Arrow stream after sorting."""
    return {pattern: (table.num_rows, digest(table)) for pattern, table in tables(life).items()}


def tables(life: Life) -> dict[str, pa.Table]:
    """The parts of the data set, sorted by id."""
    found = {}
    for pattern, keys in PARTS.items():
        whole = pa.concat_tables([pq.read_table(path) for path in sorted(life.made.glob(f"{pattern}.parquet"))])
        found[pattern] = whole.sort_by([(key, "ascending") for key in keys]).combine_chunks()
    return found


def digest(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def differing(one: Life, other: Life) -> list[Any]:
    """Of each part that is not the same: the numbers of rows, or what differs in the first row that does."""
    found: list[Any] = []
    for (pattern, table), against in zip(tables(one).items(), tables(other).values(), strict=True):
        pairs = zip(table.to_pylist(), against.to_pylist(), strict=False)
        columns = ({name: (row[name], to[name]) for name in row if row[name] != to[name]} for row, to in pairs)
        if not table.equals(against):
            found.append((pattern, table.num_rows, against.num_rows, next(filter(None, columns), {})))
    return found


def test_one_worker_killed_in_each_step_and_four_left_alone_make_the_same_data_set(
    asked: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(request.config.getoption("--seed"))
    stages = {job: rng.choice(list(STAGES[job].items())) for job in STEPS}
    moments = {job: (pattern, rng.randint(1, most)) for job, (pattern, most) in stages.items()}
    four = ("cluster.local_cpus=4", "teacher.actors=2", "stream.verifiers=2")
    with ray_of_its_own() as environment, ThreadPoolExecutor(2) as side_by_side:

        def life(name: str, *workers: str) -> Life:
            folder = tmp_path / name
            folder.mkdir()
            return Life(folder / "made", (str(asked), f"storage={folder}", *workers), environment)

        many, killed = life("four", *four), life("killed", "cluster.local_cpus=1")
        ended = [side_by_side.submit(unbroken, many), side_by_side.submit(broken, killed, moments)]
        for each in ended:
            each.result()
    wanted = content(many)
    assert content(killed) == wanted, differing(many, killed)

    rows = {pattern: number for pattern, (number, _) in wanted.items()}
    assert all(rows.values())
    assert rows["dataset/train-*"] + rows["dataset/validation-*"] == EXAMPLES
    dropped = many.summary("curate")["dropped"]
    assert min(dropped[reason] for reason in ("duplicate", "near_duplicate", "in_benchmark")) > 5
    assert killed.summary("distill")["calls"]["reused"] > 0
