"""Distilling on Ray: the same traces as without it, nothing bought twice, and troubles that end in one line."""

import json
import shutil
import signal
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from plain import content, without_ray
from tiny import WRONG_KEY, recipe, recorded, run, start, succeed, summary

from pipeline.standin.settings import StandinSettings

pytestmark = [pytest.mark.ray, pytest.mark.beside, pytest.mark.usefixtures("shared_ray")]


def served(base_url: str) -> dict[str, dict[str, int]]:
    with urllib.request.urlopen(base_url.replace("/v1", "/stats")) as answer:
        return json.load(answer)


def test_a_killed_driver_loses_only_the_calls_in_flight_and_ray_changes_no_trace(tmp_path: Path) -> None:
    problems = recorded(tmp_path / "problems.jsonl", problems=150)
    slow = recipe(tmp_path, problems)
    serving = start("teacher", slow, "--port", 0, "teacher.standin.latency_s=0.4")
    try:
        assert serving.stdout is not None
        base_url = serving.stdout.readline().strip()
        # The stand-in's own name, so that the keys are those of a run that starts it itself.
        served_by = StandinSettings(answers="replay", path=str(problems), replies=("replies.a", "replies.b")).identity
        asked = [slow, "teacher.standin=null", f"teacher.base_url={base_url}", f"teacher.served_by='{served_by}'"]
        asked.append("teacher.in_flight=8")
        succeed("curate", *asked)
        distilling = start("distill", *asked)
        while served(base_url)["requests"].get("200", 0) < 120:
            assert distilling.poll() is None, distilling.communicate()
            time.sleep(0.05)
        distilling.send_signal(signal.SIGKILL)
        distilling.communicate()
        in_flight = 8
        succeed("distill", *asked)
        bought = served(base_url)["requests"]["200"]
        assert 300 <= bought <= 300 + in_flight
        again = summary(tmp_path, "distill")["calls"]
        assert again["bought"] + again["reused"] == 300
        assert again["bought"] < 190
        assert content(tmp_path) == without_ray(slow, tmp_path, base_url)
        assert summary(tmp_path, "distill")["verdicts"] == {"correct": 225, "wrong": 75, "undecided": 0}
        succeed("distill", *asked, "distill.generations.0.draws=2")
        assert summary(tmp_path, "distill")["calls"] == {"bought": 0, "reused": 300, "retried": 0, "failed": 0}
        assert served(base_url)["requests"]["200"] <= bought + 300  # the plain run's own
    finally:
        serving.kill()
        serving.communicate()


def test_more_draws_buy_only_the_difference_and_troubles_of_the_api_lose_nothing(tmp_path: Path) -> None:
    path = recipe(tmp_path, recorded(tmp_path / "problems.jsonl", problems=60))
    troubles = [f"teacher.standin.{name}=0.1" for name in ("share_429", "share_500", "share_dropped")]
    succeed("curate", path)
    succeed("distill", path, *troubles, "distill.generations.0.draws=1")
    first = summary(tmp_path, "distill")
    assert first["calls"]["bought"] == 60
    assert first["calls"]["retried"] > 0
    succeed("distill", path)
    second = summary(tmp_path, "distill")
    assert second["calls"]["bought"] == 60
    assert second["calls"]["reused"] == 60
    assert second["traces"] == 120
    assert second["cost_usd"] < second["cost_total_usd"]


@pytest.fixture
def few(shared_ray: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe and a run of it with a few curated problems."""
    folder = tmp_path_factory.mktemp("few")
    path = recipe(folder, recorded(folder / "problems.jsonl", problems=5))
    succeed("curate", path)
    return path, folder / "runs" / "made"


UNUSABLE = {
    "can't be reached": ["teacher.standin=null", "teacher.base_url=http://127.0.0.1:9/v1", "teacher.max_attempts=1"],
    "refuses the key": ["teacher.standin.key=right-key-0001", "teacher.api_key_env=WRONG_KEY"],
    "NO_SUCH_KEY": ["teacher.api_key_env=NO_SUCH_KEY"],
}


def test_an_unusable_teacher_is_one_line_and_no_key_is_written(few: tuple[Path, Path], tmp_path: Path) -> None:
    path, curated = few

    def ended(number: int, overrides: list[str]) -> subprocess.CompletedProcess[str]:
        shutil.copytree(curated, tmp_path / str(number) / "runs" / "made")
        return run("distill", path, *overrides, f"storage={tmp_path / str(number) / 'runs'}", **WRONG_KEY)

    # Side by side: most of the time they wait.
    with ThreadPoolExecutor(len(UNUSABLE)) as threads:
        jobs = list(threads.map(ended, range(len(UNUSABLE)), UNUSABLE.values()))
    for said, job in zip(UNUSABLE, jobs, strict=True):
        assert job.returncode == 1
        assert said in job.stderr
        assert "Traceback" not in job.stderr
        assert job.stderr.strip().splitlines()[-1].startswith("error: ")
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    shown = "".join(job.stdout + job.stderr for job in jobs).encode()
    assert WRONG_KEY["WRONG_KEY"].encode() not in written + shown
    # A shard that holds no problem may be finished; nothing else.
    assert all(content(tmp_path / str(number)) == [] for number in range(len(UNUSABLE)))


def test_bad_problems_are_one_line(tmp_path: Path) -> None:
    broken = recorded(tmp_path / "problems.jsonl", problems=3)
    broken.write_text(broken.read_text() + '{"question": \n')
    ended = run("curate", recipe(tmp_path, broken))
    assert ended.returncode == 1
    assert "problems.jsonl line 4" in ended.stderr.strip().splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.data
def test_verdicts_agree_with_the_labels_of_recorded_gsm8k_solutions(tmp_path: Path) -> None:
    data = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "gsm8k_model_solutions.jsonl"
    if not data.exists():
        pytest.skip(f"needs {data.name} beside the checkout")
    asked = ["jobs/recipes/gsm8k_replay.yaml", f"sources.0.path={data}", f"teacher.standin.path={data}"]
    asked += [f"storage={tmp_path / 'runs'}", "name=made", "cluster.local_cpus=2", "cluster.dashboard=false"]
    succeed("curate", *asked)
    succeed("distill", *asked)
    counts = summary(tmp_path, "distill")
    assert counts["problems"] == 1319
    assert counts["traces"] == counts["calls"]["bought"] == 5276
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    rows = [json.loads(line) for line in data.open()]
    # Curating makes plain spaces of unusual ones.
    labels = {
        (" ".join(row["question"].split()), row[m]["solution"].strip()): row[m]["is_correct"]
        for row in rows
        for m in models
    }
    agreed = seen = 0
    for file in (tmp_path / "runs" / "made" / "traces").glob("*.parquet"):
        for trace in pq.read_table(file).to_pylist():
            seen += 1
            agreed += (trace["verdict"] == "correct") == labels[" ".join(trace["prompt"].split()), trace["reply"]]
    assert seen == 5276
    assert agreed / seen >= 0.999


def test_a_batch_buys_the_same_at_half_the_price(tmp_path: Path) -> None:
    path = recipe(tmp_path, recorded(tmp_path / "problems.jsonl", problems=30))
    batch = ["teacher.batch={gather_s: 0.5, poll_s: 0.2, calls: 40}", "teacher.standin.batch_s=1"]
    priced = ["teacher.prompt_usd_per_mtok=0"]
    succeed("curate", path)
    succeed("distill", path, *batch, *priced)
    halved = summary(tmp_path, "distill")
    traces = content(tmp_path)
    assert halved["calls"] == {"bought": 60, "reused": 0, "retried": 0, "failed": 0}
    shutil.rmtree(tmp_path / "runs" / "made" / "ledger")
    shutil.rmtree(tmp_path / "runs" / "made" / "traces")
    succeed("distill", path, *priced)
    assert summary(tmp_path, "distill")["cost_usd"] == pytest.approx(2 * halved["cost_usd"])
    assert halved["cost_usd"] > 0
    assert content(tmp_path) == traces
