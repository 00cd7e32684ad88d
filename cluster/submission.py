"""Ray jobs through the dashboard's job API: connect, start, follow; what goes wrong is one line."""

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from cluster.session import job_address
from pipeline.errors import Stop

_CONNECT_S = 10.0
_AGAIN_S = (1.0, 15.0)
_STOPPED = 130
_TALKATIVE = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)
_TOKEN = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) to the cluster's"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a job runs and what that takes: `cpus` and `memory_gib` are the driver's, 0 puts it on the head."""

    command: str
    id: str
    runtime_env: Mapping[str, Any]
    metadata: Mapping[str, str]
    cpus: float = 0.0
    memory_gib: float = 0.0
    labels: Mapping[str, str] | None = None


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str | None) -> None:
        """Raises Stop where nothing answers, the token is wrong, or the cluster runs another Ray."""
        # What Ray's client tells of its uploads and connections is not for people.
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.address = job_address(address)
        _reachable(self.address)
        self._client = _connected(self.address)
        _same_ray(self._client, self.address)

    def start(self, entry: Entry) -> None:
        """Submit it; its files are uploaded first. Raises Stop when the cluster refuses it."""
        asked: dict[str, Any] = {
            "entrypoint": entry.command,
            "submission_id": entry.id,
            "runtime_env": dict(entry.runtime_env),
            "metadata": dict(entry.metadata),
        }
        if entry.cpus:
            asked["entrypoint_num_cpus"] = entry.cpus
        if entry.memory_gib:
            asked["entrypoint_memory"] = int(entry.memory_gib * 2**30)
        if entry.labels:
            asked["entrypoint_label_selector"] = dict(entry.labels)
        try:
            self._client.submit_job(**asked)
        except (RuntimeError, ValueError, OSError) as error:
            raise Stop(f"the cluster at {self.address} refuses the job: {_first_line(error)}") from error

    def working_on(self, root: str) -> str | None:
        """The job that works on a run's folder right now, by its submission id."""
        try:
            jobs = self._client.list_jobs()
        except (RuntimeError, OSError) as error:
            raise Stop(f"the cluster at {self.address} does not tell its jobs: {_first_line(error)}") from error
        for job in jobs:
            if not job.status.is_terminal() and (job.metadata or {}).get("root") == root:
                return job.submission_id
        return None

    def state(self, job: str) -> tuple[JobStatus, str]:
        """A job's status and what Ray says of it. Raises Stop when it can't be asked."""
        try:
            info = self._client.get_job_info(job)
        except (RuntimeError, OSError) as error:
            raise Stop(f"{self.address} does not know the job {job}, or is gone: {_first_line(error)}") from error
        return info.status, info.message or ""

    def follow(self, job: str) -> int:
        """Print what a job says until it ends; its exit status (130 for one that was stopped).

        A connection that breaks is made again; Ctrl-C ends the following, not the job.
        """
        told, again = 0, _AGAIN_S[0]
        while True:
            before = told
            with contextlib.suppress(RuntimeError, OSError, aiohttp.ClientError, Stop):
                told = asyncio.run(self._tail(job, told))
            status = self._status(job)
            if status is not None and status.is_terminal():
                return self._ended(job, status, told)
            again = _AGAIN_S[0] if told > before else min(2 * again, _AGAIN_S[1])
            time.sleep(again)

    async def _tail(self, job: str, skip: int) -> int:
        """Print what comes after the first `skip` characters; how many there were."""
        seen = 0
        try:
            async for text in self._client.tail_job_logs(job):
                new = text[max(0, skip - seen) :]
                seen += len(text)
                sys.stdout.write(new)
                sys.stdout.flush()
        except (RuntimeError, OSError, aiohttp.ClientError):
            if seen <= skip:
                raise
        return max(seen, skip)

    def _status(self, job: str) -> JobStatus | None:
        with contextlib.suppress(Stop):
            return self.state(job)[0]
        return None

    def _ended(self, job: str, status: JobStatus, told: int) -> int:
        info = self._client.get_job_info(job)
        if not told:
            # A job that never came to say anything: its driver did not start.
            print(self._client.get_job_logs(job), end="", flush=True)
        if status == JobStatus.SUCCEEDED:
            return 0
        if status == JobStatus.STOPPED:
            return _STOPPED
        if not info.driver_exit_code:
            print(
                f"error: {job} failed: {' '.join((info.message or 'no reason given').split())[:500]}", file=sys.stderr
            )
        return info.driver_exit_code or 1


def _reachable(address: str) -> None:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_S):
            return
    except (OSError, UnicodeError) as error:
        raise Stop(
            f"no Ray cluster answers at {address} ({_first_line(error)}): give the address of its dashboard, such as "
            "http://HEAD:8265, and open the way to it (ssh -L, kubectl port-forward)"
        ) from error


def _connected(address: str) -> JobSubmissionClient:
    try:
        return JobSubmissionClient(address)
    except requests.exceptions.HTTPError as error:
        status = error.response.status_code
        raise Stop(f"{address} is no Ray dashboard, or not this one's: it answers {status}") from error
    except AuthenticationError as error:
        wrong = "refuses the token" if "invalid" in str(error) else "asks for a token, and none was sent"
        raise Stop(f"the cluster at {address} {wrong}: {_TOKEN}") from error
    except (RuntimeError, ConnectionError, ValueError, requests.exceptions.RequestException) as error:
        raise Stop(f"can't use the cluster at {address}: {_first_line(error)}") from error


def _same_ray(client: JobSubmissionClient, address: str) -> None:
    """Ray promises nothing between minor versions, and Longthought reaches into its inside at some places."""
    there = client._server_ray_version or "of unknown version"
    if there.split(".")[:2] != ray.__version__.split(".")[:2]:
        raise Stop(
            f"the cluster at {address} runs Ray {there}, and this Longthought is made for {ray.__version__}: "
            "use the image of cluster/deploy/Dockerfile, or another Longthought"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
