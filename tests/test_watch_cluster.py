"""The dashboard, the alerts and the scrape configurations: what they ask for is there, and moves, on a running job."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray.dashboard
import yaml
from faults import engine_cores
from prometheus import Prometheus, Query, metrics_of, promtool, queries, scraping, tool
from ray.cluster_utils import Cluster
from tiny import ROOT, recipe, recorded, start, tiny_model

WATCH = ROOT / "cluster" / "deploy" / "watch"
DASHBOARD = WATCH / "dashboard.json"
NEEDS_A_GPU = {("Model FLOPs utilisation", "A"), ("GPU use", "A")}
"""The queries that no run on CPUs answers."""
MAY_STAND_STILL = {
    # One node, a window that no 429 shrank, a counter that is there only with what it counts.
    ("Nodes", "A"),
    ("Nodes", "B"),
    ("Nodes", "C"),
    ("Draws", "C"),
    ("Preemptions and restarts", "B"),
}


def alerts() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load((WATCH / "alerts.yaml").read_text())["groups"][0]["rules"]
    return rules


def asked() -> list[Query]:
    """All queries of the dashboard and all expressions of alerts."""
    return queries(DASHBOARD) + [Query(rule["alert"], "A", rule["expr"]) for rule in alerts()]


def test_every_panel_says_what_it_shows_and_in_which_unit() -> None:
    panels = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    assert len(panels) > 20
    for panel in panels:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    places: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & places, panel["title"]
        places |= cells


def test_prometheus_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query.expr} for number, query in enumerate(queries(DASHBOARD))]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = promtool("check", "rules", tmp_path / "rules.yaml")
    assert checked.returncode == 0, checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def test_rays_own_metrics_are_named_as_in_rays_own_dashboards() -> None:
    folder = Path(ray.dashboard.__file__).parent / "modules" / "metrics" / "dashboards"
    known = set(re.findall(r"(?:ray|autoscaler)_\w+", "".join(file.read_text() for file in folder.glob("*.py"))))
    own = {name for query in asked() for name in metrics_of(query.expr) if "longthought" not in name}
    assert len(own) > 5
    assert own <= known


def test_all_metrics_that_are_asked_for_are_ours_or_rays() -> None:
    for query in asked():
        names = metrics_of(query.expr)
        assert names, query
        assert all(name.startswith(("ray_", "autoscaler_")) for name in names), names


def test_alerts_fire_when_they_must_and_not_otherwise() -> None:
    ended = promtool("test", "rules", WATCH / "alerts_test.yaml")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load((WATCH / "alerts_test.yaml").read_text())["tests"]
    cases = {(case["alertname"], bool(case["exp_alerts"])) for test in tests for case in test["alert_rule_test"]}
    assert cases == {(rule["alert"], fires) for rule in alerts() for fires in (True, False)}


def test_the_operators_rules_are_the_same_rules() -> None:
    ours = yaml.safe_load((WATCH / "alerts.yaml").read_text())
    theirs = yaml.safe_load((WATCH / "prometheusrule.yaml").read_text())
    assert theirs["spec"] == ours
    monitor = yaml.safe_load((WATCH / "podmonitor.yaml").read_text())
    # One selector of the operator finds both.
    assert monitor["metadata"]["labels"] == theirs["metadata"]["labels"]


def test_prometheus_takes_the_scrape_configuration() -> None:
    checked = promtool("check", "config", WATCH / "prometheus.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_grafana_finds_dashboards_in_a_folder_that_is_not_rays() -> None:
    provider = yaml.safe_load((WATCH / "provider.yaml").read_text())["providers"][0]
    assert provider["type"] == "file"
    assert not provider["options"]["path"].startswith("/tmp/ray")
    source = yaml.safe_load((WATCH / "datasource.yaml").read_text())["datasources"][0]
    variable = json.loads(DASHBOARD.read_text())["templating"]["list"][0]
    assert (variable["type"], variable["query"]) == ("datasource", source["type"])


def made(folder: Path) -> Path:
    """A recipe of which every figure moves: a teacher that fails now and then, replies that no judge survives, an
    engine that is short of cache, and training."""
    tiny_model(folder / "model")
    problems = recorded(folder / "problems.jsonl", problems=90)
    hostile = [json.loads(line) for line in problems.read_text().splitlines()]
    for row in hostile[::15]:
        row["replies"]["b"] = "\\boxed{9^{9^{9^{9}}}}"
    problems.write_text("".join(json.dumps(row) + "\n" for row in hostile))
    standin = {"answers": "replay", "path": str(problems), "replies": ["replies.a", "replies.b"], "latency_s": 0.3}
    sampling = {"temperature": 1.0, "max_tokens": 128}
    return recipe(
        folder,
        problems,
        shards=6,
        budget_usd=1.0,
        teacher={
            "model": "recorded",
            "standin": standin | {"share_429": 0.1, "share_500": 0.1},
            "in_flight": 8,
            "prompt_usd_per_mtok": 1.0,
            "completion_usd_per_mtok": 1.0,
        },
        student={
            "model": str(folder / "model"),
            "engine": {"device": "cpu", "max_model_len": 512, "in_flight": 8, "compile": False, "cpus": 0.5}
            | {"kv_cache_gib": 0.0005},
        },
        distill={
            "generations": [
                {"name": "long", "engine": "teacher", "draws": 2, "sampling": {"max_tokens": 64}},
                {"name": "self", "engine": "student", "draws": 1, "sampling": sampling},
            ]
        },
    )


@contextlib.contextmanager
def ray_that_is_watched(folder: Path) -> Iterator[tuple[Cluster, Prometheus]]:
    """A Ray of its own whose figures are a second old at most, and a Prometheus with the project's configuration."""
    tool("prometheus")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(folder),
            "RAY_metrics_report_interval_ms": "1000",
        }.items():
            environment.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": True})
        found = {"/tmp/ray/prom_metrics": f"{folder}/ray/prom_metrics"}
        try:
            with scraping(WATCH / "prometheus.yaml", folder, replaced=found) as server:
                yield cluster, server
        finally:
            cluster.shutdown()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a name short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="watch-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def until_trained(process: "subprocess.Popen[str]", cluster: Cluster, server: Prometheus) -> None:
    """Wait for training's last step, kill an engine on the way, and end the command."""
    give_up, killed = time.monotonic() + 400, False
    while not server.ask("query", query="ray_longthought_train_seconds_left == 0")["result"]:
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < give_up, "no step of training within 400 s"
        drawn = server.ask("query", query="ray_longthought_engine_generated_tokens_total > 1000")["result"]
        if drawn and not killed:
            os.kill(engine_cores(cluster)[0], signal.SIGKILL)
            killed = True
        time.sleep(1)
    time.sleep(3)
    process.kill()
    process.communicate()


@pytest.mark.ray
@pytest.mark.vllm
def test_a_running_job_answers_every_query_of_the_dashboard(tmp_path: Path, short: Path) -> None:
    with ray_that_is_watched(short) as (cluster, server):
        began = time.time()
        process = start("run", made(tmp_path), RAY_ADDRESS=cluster.address)
        try:
            until_trained(process, cluster, server)
        finally:
            if process.poll() is None:
                psutil.Process(process.pid).kill()
                process.communicate()
        answers = {
            (query.panel, query.ref): server.values(query.expr, start=began, end=time.time())
            for query in queries(DASHBOARD)
        }
        rules = server.ask("rules")["groups"][0]["rules"]
    assert {query for query, series in answers.items() if not series} == NEEDS_A_GPU
    moves = {query for query, series in answers.items() if any(len(set(values)) > 1 for values in series)}
    assert set(answers) - moves <= MAY_STAND_STILL | NEEDS_A_GPU
    assert {rule["name"]: rule["health"] for rule in rules} == {rule["alert"]: "ok" for rule in alerts()}
