"""Where the figures of a run are shown besides events.jsonl: Ray's metrics, TensorBoard, Weights & Biases, MLflow.

Each has a thread of its own: one that hangs delays nobody, one that fails is warned of once, and training goes on.
"""

import importlib
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from cluster.progress import warn
from pipeline.errors import Stop
from pipeline.store import Store
from pipeline.training.settings import MlflowSettings, WandbSettings, WatchSettings

_LAST_S = 30.0
_SYNC_S = 30.0


@dataclass(frozen=True, slots=True)
class RunOf:
    """Which run figures belong to: the same one however often the phase is started."""

    name: str
    """The run's name."""
    phase: str
    identity: str
    settings: Mapping[str, Any]
    """What the phase was trained with."""

    @property
    def key(self) -> str:
        """A short name that no other phase of any run has."""
        return f"{self.name}-{self.phase}-{self.identity[:12]}"


class Tracker(Protocol):
    """A place for figures."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Show the figures of a step."""
        ...

    def close(self) -> None:
        """Show what is not shown yet."""
        ...


def check_installed(settings: WatchSettings) -> None:
    """Raise Stop when the recipe asks for a tracker that is not installed here."""
    for name, wanted in (("wandb", settings.wandb), ("mlflow", settings.mlflow)):
        if wanted is not None:
            _imported(name)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = f"pip install {name}" if error.name == name else f"{name} can't be imported: {error}"
        raise Stop(
            f"train.watch.{name} needs the package {name}: {missing}, or leave train.watch.{name} out"
        ) from error


class Shown:
    """Hands figures to a tracker in a thread of its own; `open_` makes the tracker there."""

    def __init__(self, name: str, open_: Any) -> None:
        self._name, self._open = name, open_
        self._due: SimpleQueue[tuple[int, Mapping[str, float]] | None] = SimpleQueue()
        self._failed = 0
        self._thread = threading.Thread(target=self._show, name=f"train-{name}", daemon=True)
        self._thread.start()

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Show the figures of a step, later."""
        self._due.put((step, figures))

    def close(self) -> None:
        """Wait half a minute at most for what is not shown yet."""
        self._due.put(None)
        self._thread.join(_LAST_S)
        if self._thread.is_alive():
            warn(f"{self._name} did not take the last figures within {_LAST_S:g} s; they are in events/")

    def _show(self) -> None:
        try:
            tracker: Tracker = self._open()
        except Exception as error:  # noqa: BLE001 a tracker may raise anything, and none may end training
            warn(f"{self._name} can't be used, so its figures are in events/ only: {_said(error)}")
            return
        while (due := self._due.get()) is not None:
            self._tried(lambda due=due: tracker.log(*due))
        self._tried(tracker.close)
        if self._failed > 1:
            warn(f"{self._name} missed the figures of {self._failed} steps; they are in events/")

    def _tried(self, call: Any) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 a tracker may raise anything, and none may end training
            self._failed += 1
            if self._failed == 1:
                warn(f"{self._name} fails, training goes on: {_said(error)}")


def trackers(settings: WatchSettings, run: RunOf, *, store: Store, folder: str, from_step: int) -> list[Shown]:
    """The trackers that a recipe asks for; what they hold of steps after `from_step` is done again."""
    found = [Shown("Ray's metrics", lambda: RayMetrics(run))]
    if settings.tensorboard:
        found.append(Shown("TensorBoard", lambda: TensorBoard(store, f"{folder}/tensorboard", from_step=from_step)))
    wandb, mlflow = settings.wandb, settings.mlflow
    if wandb is not None:
        found.append(Shown("Weights & Biases", lambda: Wandb(wandb, run)))
    if mlflow is not None:
        found.append(Shown("MLflow", lambda: Mlflow(mlflow, run)))
    return found


class RayMetrics:
    """Gauges longthought_train_NAME, with the tags run and phase, in the process that makes it."""

    def __init__(self, run: RunOf) -> None:
        self._tags = {"run": run.name, "phase": run.phase}
        self._gauges: dict[str, Any] = {}

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Set the gauges."""
        from ray.util.metrics import Gauge

        for name, value in {"step": step, **figures}.items():
            # pass_at_1/math: what is behind the stroke is a tag.
            name, _, of = name.partition("/")
            plain = "longthought_train_" + "".join(letter if letter.isalnum() else "_" for letter in name)
            if plain not in self._gauges:
                self._gauges[plain] = Gauge(plain, f"{name} of the last step", tag_keys=("run", "phase", "of"))
            self._gauges[plain].set(float(value), tags={**self._tags, "of": of})

    def close(self) -> None:
        """Ray sends them by itself."""


class TensorBoard:
    """TensorBoard's event files in a folder of the store; where that is remote they are copied there now and then."""

    def __init__(self, store: Store, folder: str, *, from_step: int) -> None:
        from tensorboardX import SummaryWriter

        self._store, self._folder = store, folder
        self._beside = Path(store.address(folder) if _is_path(store) else tempfile.mkdtemp(prefix="longthought-board-"))
        self._synced = time.monotonic()
        # TensorBoard then leaves out what earlier files say of these steps and later ones.
        self._writer = SummaryWriter(str(self._beside), purge_step=from_step + 1, flush_secs=10)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step."""
        for name, value in figures.items():
            self._writer.add_scalar(name if "/" in name else f"train/{name}", value, step)
        if not _is_path(self._store) and time.monotonic() - self._synced > _SYNC_S:
            self._writer.flush()
            self._sync()

    def close(self) -> None:
        """Write what is not written yet."""
        self._writer.close()
        if not _is_path(self._store):
            self._sync()
            shutil.rmtree(self._beside, ignore_errors=True)

    def _sync(self) -> None:
        started = time.monotonic()
        for file in sorted(self._beside.iterdir()):
            self._store.write_bytes(f"{self._folder}/{file.name}", file.read_bytes())
        # The files grow: a slow copy is made less often.
        self._synced = time.monotonic() + 20 * (time.monotonic() - started)


class Wandb:
    """A run of Weights & Biases; started again, the same phase goes on with it."""

    def __init__(self, settings: WandbSettings, run: RunOf) -> None:
        self._run = _imported("wandb").init(
            project=settings.project,
            entity=settings.entity,
            id=run.key.replace("/", "-"),
            name=f"{run.name}/{run.phase}",
            config=dict(run.settings),
            resume="allow",
            # The terminal shows live figures, which it would take for output of the run.
            settings={"console": "off"},
        )
        # A checkpoint's scores come when later steps are there already, and W&B's own steps only rise.
        self._run.define_metric("evaluation/*", step_metric="evaluated_step")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step; it leaves out steps that it has."""
        if "loss" in figures:
            self._run.log(dict(figures), step=step)
        else:
            named = {f"evaluation/{name}": value for name, value in figures.items()}
            self._run.log({**named, "evaluated_step": step}, commit=False)

    def close(self) -> None:
        """Send what is not sent yet."""
        self._run.finish()


class Mlflow:
    """A run of MLflow; started again, the same phase goes on with it."""

    def __init__(self, settings: MlflowSettings, run: RunOf) -> None:
        mlflow = _imported("mlflow")
        self._metric = mlflow.entities.Metric
        self._client = mlflow.MlflowClient(tracking_uri=settings.uri)
        found = self._client.get_experiment_by_name(settings.experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(settings.experiment)
        runs = self._client.search_runs([experiment], filter_string=f"tags.longthought = '{run.key}'")
        tags = {"longthought": run.key, "mlflow.runName": f"{run.name}/{run.phase}"}
        held = runs[0] if runs else self._client.create_run(experiment, tags=tags)
        self._id = held.info.run_id
        self._done = int(held.data.metrics.get("step", 0))
        if not runs:
            for name, value in run.settings.items():
                self._client.log_param(self._id, name, str(value)[:500])

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step; steps that it has are left out."""
        named = dict(figures)
        if "loss" in figures:
            if step <= self._done:
                return
            self._done, named["step"] = step, step
        now = int(time.time() * 1000)
        self._client.log_batch(self._id, metrics=[self._metric(n, float(v), now, step) for n, v in named.items()])

    def close(self) -> None:
        """Mark the run as ended."""
        self._client.set_terminated(self._id)


def _is_path(store: Store) -> bool:
    return "://" not in store.root


def _said(error: Exception) -> str:
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
