"""Connect to Ray, or start one on this machine. The only reader of environment variables."""

import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray
import ray.data
from pydantic import Field, model_validator
from ray._private import auto_init_hook

from cluster.placement import keep_apart
from pipeline.errors import Stop
from pipeline.settings import Settings

_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"


class NodesSettings(Settings):
    """Ray labels of the nodes that each kind of work goes to, as the files in cluster/deploy/ set them.

    Either none has labels, or all three have labels of the same names: then each lands on its own nodes.
    """

    cpu: dict[str, str] = {}
    """Calls of teachers, verification, and all else that takes CPUs, such as `{work: cpu}`."""
    engines: dict[str, str] = {}
    """vLLM, such as `{work: engines}`."""
    training: dict[str, str] = {}
    """The ranks of training, such as `{work: training}`."""

    @model_validator(mode="after")
    def _alike(self) -> "NodesSettings":
        if not self.cpu.keys() == self.engines.keys() == self.training.keys():
            raise ValueError("cpu, engines and training must have labels of the same names, or none of them any")
        return self


class ClusterSettings(Settings):
    """Which Ray the jobs run on."""

    address: str | None = None
    """A running cluster's address. None takes RAY_ADDRESS (set inside submitted jobs), else starts Ray right here."""
    local_cpus: int | None = Field(default=None, gt=0)
    """Logical CPUs of a Ray that is started here; none means the machine's."""
    dashboard: bool = True
    """Whether a Ray that is started here has its dashboard."""
    nodes: NodesSettings = NodesSettings()
    """Which nodes each kind of work goes to; none says that all are alike."""


@contextlib.contextmanager
def session(settings: ClusterSettings) -> Iterator[None]:
    """A connection to Ray for the length of the block, or the one there is. Raises Stop when there can be none."""
    if ray.is_initialized():
        yield
        return
    address = settings.address or os.environ.get("RAY_ADDRESS")
    _quiet()
    nodes = settings.nodes
    keep_apart({"cpu": nodes.cpu, "engines": nodes.engines, "training": nodes.training})
    # Ray Data puts every task and actor of a data set there that asks for no other nodes.
    ray.data.DataContext.get_current().execution_options.label_selector = dict(nodes.cpu) or None
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        else:
            _start(settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"Ray at {address}" if address else "a Ray on this machine"
        raise Stop(f"can't use {where}: {_said(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _said(error: Exception) -> str:
    """What Ray says in one line; which versions differ stands in its further lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines) if lines[0].lower().startswith("version mismatch") else lines[0]


def cpus_here(settings: ClusterSettings) -> float | None:
    """Logical CPUs that all work has: of the Ray that would be started here, or is connected to; None is not known."""
    if ray.is_initialized():
        return float(ray.cluster_resources().get("CPU", 0.0))
    if is_local(settings):
        return float(settings.local_cpus or cores())
    return None


def is_local(settings: ClusterSettings) -> bool:
    """Whether Ray is started on this machine, and so has no more nodes to come."""
    return not (settings.address or os.environ.get("RAY_ADDRESS"))


def never_again() -> None:
    """From now on a call to Ray without a connection fails; by itself it would start a Ray on this machine.

    For threads that may outlive the session.
    """
    auto_init_hook.enable_auto_connect = False


def dashboard_url() -> str | None:
    """The dashboard's address, or None if there is none, or no connection."""
    url = ray._private.worker.get_dashboard_url() if ray.is_initialized() else None
    return f"http://{url}" if url else None


def cache_dir() -> Path:
    """Where fetched models are kept on this machine: LONGTHOUGHT_CACHE, else ~/.cache/longthought."""
    return Path(os.environ.get("LONGTHOUGHT_CACHE") or Path.home() / ".cache" / "longthought")


def secret(variable: str | None, file: str | None = None) -> str | None:
    """A key by its variable's or its file's name; None where neither is given. Raises Stop when it is not there."""
    if variable is not None:
        where, value = f"the environment variable {variable} (api_key_env)", os.environ.get(variable)
    elif file is not None:
        where, value = f"the file {file} (api_key_file)", _content(file)
    else:
        return None
    if not value or not value.strip():
        raise Stop(f"{where} is not set on {os.uname().nodename}")
    value = value.strip()
    if not value.isprintable() or " " in value:
        raise Stop(f"{where} holds spaces or control characters, not a key")
    return value


def _content(file: str) -> str | None:
    try:
        return Path(file).expanduser().read_text()
    except (OSError, UnicodeDecodeError):
        return None


def in_submitted_job() -> bool:
    """Whether this process is the driver of a submitted Ray job."""
    return _SUBMITTED in os.environ


def job_id() -> str | None:
    """The submitted Ray job that this process is the driver of, or None."""
    config = json.loads(os.environ.get(_SUBMITTED, "{}"))
    name: str | None = config.get("metadata", {}).get("job_submission_id")
    return name


def job_address(given: str | None) -> str:
    """The dashboard that jobs are submitted to: what is given, else RAY_API_SERVER_ADDRESS or RAY_ADDRESS.

    Raises Stop without one. Ray's own client would let the variables win over what is given: they are taken away.
    """
    said = [os.environ.pop(name, None) for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")]
    address = given or next((each for each in said if each), None)
    if address is None:
        raise Stop("no cluster is named: give --address http://HEAD:8265, or set RAY_API_SERVER_ADDRESS")
    if not address.startswith(("http://", "https://")):
        raise Stop(f"--address {address} is no dashboard's: write http://HEAD:8265, the port that the dashboard is on")
    return address.rstrip("/")


def variable(name: str) -> str | None:
    """An environment variable's value, to be passed on to a submitted job."""
    return os.environ.get(name)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def is_terminal() -> bool:
    """Whether a person watches standard error."""
    return sys.stderr.isatty()


def _start(settings: ClusterSettings) -> None:
    # A folder of our own: the shared default belongs to whoever came first on this machine.
    folder = Path(tempfile.gettempdir()) / f"longthought-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    ray.init(
        address="local",
        num_cpus=settings.local_cpus,
        include_dashboard=settings.dashboard,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _temp_dir=str(folder),
    )


def _quiet() -> None:
    # Ray's own progress bars and hints would bury ours; its logs stay in its session folder.
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # The C++ layer calls every restartable actor pool of Ray Data an error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A long thought is no lack of progress, nor is waiting for a node.
    context.execution_no_progress_timeout_s = -1
    # A node may go while an actor starts on it; Ray Data would give up the run at the first.
    context.max_consecutive_actor_init_deaths = 5
    # A pool grows once its actors have all they work on at once; more than that is never queued in one of them, and
    # Ray Data's own threshold of 1.75 times as much would never be reached.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    # A Ray started here asks for a token by default, and says so at length.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    for name in ("ray.data", "ray.train"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.ERROR)
