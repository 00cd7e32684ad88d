"""A real Prometheus for tests: its tools, a server on a port of its own, and what its API answers.

Its programs are looked for on PATH and in the folder that the variable PROMETHEUS names.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

_PATIENCE_S = 60.0
# Grafana puts them in; a rate needs two scrapes, which are a second apart here.
_GRAFANA = {"$__rate_interval": "5s", "$__range": "1h", "$run": ".+"}


@dataclass(frozen=True)
class Query:
    """One of a dashboard's queries, as Grafana would send it."""

    panel: str
    ref: str
    expr: str


def tool(name: str) -> str:
    """The path of prometheus or promtool; the test is skipped where there is none."""
    path = os.pathsep.join([os.environ.get("PROMETHEUS", ""), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"there is no {name} on PATH nor in the folder that PROMETHEUS names (Debian: package prometheus)")
    return found


def promtool(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """A run of promtool, however it ends."""
    return subprocess.run([tool("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60)


def queries(dashboard: Path) -> list[Query]:
    """All queries of a Grafana dashboard, with its variables put in."""
    panels = json.loads(dashboard.read_text())["panels"]
    return [
        Query(panel["title"], target["refId"], _put_in(target["expr"]))
        for panel in panels
        for target in panel.get("targets", [])
    ]


def metrics_of(expr: str) -> set[str]:
    """The names of metrics in an expression: whatever stands before a brace or bracket, or looks like Ray's."""
    without_labels = re.sub(r'"[^"]*"', '""', expr)
    return set(re.findall(r"\b(?:ray|autoscaler)_\w+|\b[a-zA-Z_:][\w:]*(?=[{\[])", without_labels))


def _put_in(expr: str) -> str:
    for variable, value in _GRAFANA.items():
        expr = expr.replace(variable, value)
    return expr


@dataclass(frozen=True)
class Prometheus:
    """A server that runs."""

    url: str

    def ask(self, path: str, **parameters: object) -> Any:
        """The data of an answer of its API. Raises AssertionError with what it says is wrong."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error
        assert said["status"] == "success", said
        return said["data"]

    def values(self, expr: str, *, start: float, end: float) -> list[list[float]]:
        """The values of each series of an expression, once a second from start to end (seconds since 1970)."""
        data = self.ask("query_range", query=expr, start=start, end=end, step=max(1, round((end - start) / 3000)))
        return [[float(value) for _, value in series["values"]] for series in data["result"]]


@contextlib.contextmanager
def scraping(config: Path, folder: Path, *, replaced: Mapping[str, str]) -> Iterator[Prometheus]:
    """A Prometheus with a configuration (its rules beside it) scraping once a second; `replaced` are texts of it."""
    text = config.read_text()
    for old, new in replaced.items():
        assert old in text, f"{config.name} has no {old!r}"
        text = text.replace(old, new)
    values = yaml.safe_load(text)
    values["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    values["rule_files"] = [str(config.parent / name) for name in values["rule_files"]]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        *(tool("prometheus"), f"--config.file={folder / 'prometheus.yaml'}", f"--web.listen-address={address}"),
        *(f"--storage.tsdb.path={folder / 'series'}", "--log.level=warn"),
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(process, f"http://{address}/-/ready", folder / "prometheus.log")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError(f"Prometheus did not start: {log.read_text()[-2000:]}")
