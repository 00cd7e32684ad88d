"""Jobs submitted to a real cluster of three nodes that asks for a token, from another folder than the project's."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from plain import CONTENT
from real_nodes import Nodes, started, until
from tiny import ROOT, recipe, recorded, tiny_model

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    """Three nodes of one CPU."""
    with started(3, cpus=1) as made:
        yield made


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A recipe over 40 recorded problems whose answers take a while."""
    tiny_model(tmp_path / "model")
    answers = recorded(tmp_path / "problems.jsonl", problems=40)
    replay = {"answers": "replay", "path": str(answers), "replies": ["replies.a", "replies.b"], "latency_s": 0.1}
    priced = {"prompt_usd_per_mtok": 1.0, "completion_usd_per_mtok": 1.0}
    return recipe(tmp_path, answers, teacher={"model": "recorded", "standin": replay, **priced, "actors": 2})


def submitted(*arguments: object, folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """jobs.submit, started in a folder that is not the project's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.submit", *map(str, arguments)],
        cwd=folder,
        env=clean | {"PYTHONPATH": str(ROOT), "HOME": str(folder)} | environment,
        # Whoever runs the tests may ignore Ctrl-C, and a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


def token(cluster: Nodes) -> dict[str, str]:
    assert cluster.token is not None
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": cluster.token}


def jobs_of(cluster: Nodes) -> list[dict[str, Any]]:
    """What the cluster itself says of its jobs."""
    asked = urllib.request.Request(f"{cluster.dashboard}/api/jobs/")
    asked.add_header("Authorization", f"Bearer {cluster.token}")
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def traces_in(run: Path) -> list[tuple[object, ...]]:
    """A run's traces, without what differs from run to run."""
    rows = [row for file in sorted((run / "traces").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    return sorted(tuple(row[name] for name in CONTENT) for row in rows)


def test_a_submitted_run_makes_the_same_traces_as_one_here(cluster: Nodes, made: Path, tmp_path: Path) -> None:
    """And the same command again starts nothing while it runs, and goes on where it was afterwards."""
    to = [made, f"storage={tmp_path}/there", "--address", cluster.dashboard]
    status, out, err = ended(submitted(*to, "--job", "curate", "--wait", folder=tmp_path, **token(cluster)))
    assert status == 0, out + err
    first = submitted(*to, "--job", "distill", "--wait", folder=tmp_path, **token(cluster))
    until(lambda: (tmp_path / "there/made/lock.json").exists(), seconds=120, what="the job at work")
    second = submitted(*to, "--job", "distill", folder=tmp_path, **token(cluster))
    status, out, err = ended(second)
    assert status == 0, out + err
    assert "already: this command started nothing" in out
    status, out, err = ended(first)
    assert status == 0, out + err
    assert "bought 80" in out, "its log is printed"

    for job in ("curate", "distill"):
        here = [sys.executable, "-m", f"jobs.{job}", str(made), f"storage={tmp_path}/here"]
        subprocess.run(here, cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert traces_in(tmp_path / "there/made") == traces_in(tmp_path / "here/made")
    assert len(traces_in(tmp_path / "there/made")) == 80

    told = [job for job in jobs_of(cluster) if job["metadata"].get("root") == f"{tmp_path}/there/made"]
    assert sorted((job["metadata"]["verb"], job["status"]) for job in told) == [
        ("curate", "SUCCEEDED"),
        ("distill", "SUCCEEDED"),
    ]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    assert {job["metadata"]["commit"] for job in told} == {commit.stdout.strip()}
    written = (tmp_path / "there/made/recipe.yaml").read_text()
    assert f"longthought: {commit.stdout.strip()}" in written, "the run knows which code made it"

    status, out, err = ended(submitted(*to, "--job", "distill", "--wait", folder=tmp_path, **token(cluster)))
    assert (status, "bought 0  reused 80" in out) == (0, True), out + err


def test_a_job_that_fails_ends_the_command_as_the_job_ended(cluster: Nodes, made: Path, tmp_path: Path) -> None:
    to = [made, f"storage={tmp_path}/there", "--address", cluster.dashboard, "--job", "distill", "--wait"]
    status, out, _ = ended(submitted(*to, folder=tmp_path, **token(cluster)))
    assert status == 1
    assert "error: problems/ is not ready for this recipe: run jobs.curate first" in out


def test_without_the_token_everything_is_refused(cluster: Nodes, made: Path, tmp_path: Path) -> None:
    """In one line, and the job is not there."""
    before = len(jobs_of(cluster))
    to = [made, f"storage={tmp_path}/there", "--address", cluster.dashboard]
    for environment, said in [
        ({}, "asks for a token, and none was sent"),
        ({"RAY_AUTH_MODE": "disabled"}, "asks for a token, and none was sent"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}, "refuses the token"),
    ]:
        status, out, err = ended(submitted(*to, folder=tmp_path, **environment))
        (line,) = err.splitlines()
        assert (status, out) == (1, "")
        assert line.startswith(f"error: the cluster at {cluster.dashboard} {said}: set RAY_AUTH_MODE=token")
    for page in ("/api/jobs/", "/api/v0/actors", "/api/cluster_status", "/nodes?view=summary"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(cluster.dashboard + page, timeout=30)
    driver = "import ray; ray.init(); print('in')"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    for mode in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}):
        environment = clean | mode | {"RAY_ADDRESS": cluster.gcs}
        refused = subprocess.run([sys.executable, "-c", driver], env=environment, capture_output=True, timeout=120)
        assert refused.returncode != 0
        assert b"in\n" not in refused.stdout
    assert len(jobs_of(cluster)) == before


def test_a_node_that_sees_another_folder_is_named_before_anything_is_bought(made: Path, tmp_path: Path) -> None:
    """A node in a mount namespace of its own, where an empty disk lies over the storage."""
    storage = tmp_path / "there"
    storage.mkdir()
    apart = ["unshare", "--mount", "--map-root-user", "sh", "-c", f'mount -t tmpfs none {storage} && exec "$@"', "sh"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mount namespaces are not allowed here")
    with started(1, cpus=1) as nodes:
        nodes.join(1, inside=apart)
        to = [made, f"storage={storage}", "--address", nodes.dashboard, "--wait"]
        status, out, err = ended(submitted(*to, "--job", "curate", folder=tmp_path, **token(nodes)))
    (line,) = [line for line in (out + err).splitlines() if line.startswith("error: ")]
    assert status == 1
    assert f"error: not every node can use {storage}/made: node " in line
    assert "it does not see what the driver wrote; give a folder that is mounted on all of them" in line
    assert not (storage / "made/problems").exists()


def test_too_few_resources_are_one_line_before_anything_is_bought(cluster: Nodes, made: Path, tmp_path: Path) -> None:
    to = [made, f"storage={tmp_path}/there", "--address", cluster.dashboard, "--wait", "train.cpus_per_worker=3"]
    status, out, err = ended(submitted(*to, folder=tmp_path, **token(cluster)))
    (line,) = [line for line in (out + err).splitlines() if line.startswith("error: ")]
    assert status == 1
    assert line.startswith(
        "error: train never starts on this cluster: a training worker needs 3 CPU, beside 1 more of this step, and "
        "there is at most 1 node with 1 CPU, 0 GPU"
    )
    assert not (tmp_path / "there/made/problems").exists()


@contextlib.contextmanager
def answering(version: str) -> Iterator[str]:
    """A dashboard that says it is of this Ray."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"version": "4", "ray_version": version, "ray_commit": "", "session_name": ""}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def test_another_ray_and_an_address_that_does_not_answer_are_one_line(made: Path, tmp_path: Path) -> None:
    open_ = {"RAY_AUTH_MODE": "disabled"}
    with answering("2.44.1") as address:
        status, _, err = ended(submitted(made, "storage=/x", "--address", address, folder=tmp_path, **open_))
    assert status == 1
    assert err.startswith(f"error: the cluster at {address} runs Ray 2.44.1, and this Longthought is made for 2.60")
    status, _, err = ended(submitted(made, "storage=/x", "--address", address, folder=tmp_path, **open_))
    assert (status, len(err.splitlines())) == (1, 1)
    assert err.startswith(f"error: no Ray cluster answers at {address}")
    for wrong, said in [
        (["--address", "127.0.0.1:6379"], "error: --address 127.0.0.1:6379 is no dashboard's"),
        ([], "error: no cluster is named: give --address http://HEAD:8265"),
        (["--address", address, "storage=runs"], "error: storage='runs' is this machine's"),
        (["--address", address, "--env", "NOT_SET"], "error: --env NOT_SET: this variable is not set here"),
    ]:
        arguments = [made, *([] if "storage=runs" in wrong else ["storage=/x"]), *wrong]
        _, _, err = ended(submitted(*arguments, folder=tmp_path, **open_))
        assert (err.startswith(said), len(err.splitlines())) == (True, 1), err


def test_ctrl_c_ends_the_watching_and_not_the_job(cluster: Nodes, made: Path, tmp_path: Path) -> None:
    to = [made, f"storage={tmp_path}/there", "--address", cluster.dashboard, "--job", "curate", "--wait"]
    watching = submitted(*to, folder=tmp_path, **token(cluster))
    until(lambda: (tmp_path / "there/made/lock.json").exists(), seconds=120, what="the job at work")
    watching.send_signal(signal.SIGINT)
    status, out, err = ended(watching)
    assert status == 130, out + err
    assert "goes on; to end it: ray job stop" in out
    until(lambda: (tmp_path / "there/made/summary/curate.json").exists(), seconds=120, what="the job's end")
