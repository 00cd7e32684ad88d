"""The driver's side of watching a phase: takes what ranks tell, and brings it to the events file and the trackers."""

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

import ray

from cluster import doing
from cluster.packs import Windows
from cluster.placement import beside_driver
from cluster.progress import warn
from cluster.training.events import Events
from cluster.training.plan import PhasePlan
from cluster.training.told import Begun, Exported, Held, Memory, Saved, Stepped, Told, stepped
from cluster.training.trackers import RunOf, Shown, check_installed, trackers
from pipeline.errors import Stop

_TAKE_S = 1.0
_LAST = 20


@ray.remote(num_cpus=0)
class Inbox:
    """Keeps what ranks tell until the driver takes it."""

    def __init__(self) -> None:
        self._told: list[Told] = []

    def tell(self, told: Told) -> None:
        """Keep one thing."""
        self._told.append(told)

    def take(self) -> list[Told]:
        """All that was told since the last time."""
        told, self._told = self._told, []
        return told


class Recorder:
    """Turns what ranks tell into lines and figures; `exported` hears of each model that is there to be measured."""

    def __init__(self, plan: PhasePlan, *, run: str, exported: Callable[[int], None] = lambda _: None) -> None:
        self._plan, self._run, self._exported = plan, run, exported
        self._events = Events(plan.store, f"events/train-{plan.phase.name}.jsonl", identity=plan.identity)
        self._trackers: list[Shown] = []
        self._figures: Figures | None = None
        self._told: SimpleQueue[tuple[str, int, Mapping[str, Any]]] = SimpleQueue()
        self._warned = False

    def add(self, event: str, step: int, figures: Mapping[str, Any]) -> None:
        """Note something that the driver itself found out, in any thread."""
        self._told.put((event, step, figures))

    def take(self, told: Sequence[Told]) -> None:
        """Note what ranks told, and what was added meanwhile."""
        for one in told:
            self._tried(lambda one=one: self._take(one))
        while not self._told.empty():
            event, step, figures = self._told.get()
            self._note(event, step, figures)
            shown = {name: value for name, value in figures.items() if isinstance(value, int | float)}
            if event == "evaluation":
                of = figures["benchmark"]
                named = {f"{name.replace('@', '_at_')}/{of}": value for name, value in shown.items()}
                self._show(step, named)
        self._tried(self._events.write_when_due)

    def close(self) -> None:
        """Write what is not written yet."""
        self.take(())
        self._tried(self._events.write)
        for tracker in self._trackers:
            tracker.close()

    def _take(self, told: Told) -> None:
        match told:
            case Begun():
                self._begin(told)
            case Stepped():
                self._step(told)
            case Saved():
                self._note("checkpoint", told.step, {"time": told.time})
            case Held() if self._figures is not None:
                self._figures.memory[told.rank] = told.memory
            case Exported(failed=None):
                self._note("exported", told.step, {"seconds": round(told.seconds, 3), "time": told.time})
                self._exported(told.step)
            case Exported():
                warn(f"the model of step {told.step} can't be measured: {told.failed}")
                self._note("evaluation_failed", told.step, {"why": told.failed, "time": told.time})

    def _begin(self, told: Begun) -> None:
        done, before = told.history.done, self._figures
        self._figures = Figures(self._plan, told)
        missing = self._events.back_to(done)
        for number in missing:
            self._line(stepped(told.history, number - 1))
        ranks = {"ranks": told.ranks, "time": told.time}
        self._note("resume" if done else "start", done, ranks)
        was = list(told.history.ranks.values())[-2:]
        if (before is not None and before.begun.ranks != told.ranks) or len(set(was)) > 1:
            self._note("ranks", done, ranks)
        if not self._trackers:
            self._open_trackers(done)

    def _open_trackers(self, done: int) -> None:
        plan = self._plan
        settings = plan.settings.model_dump(mode="json", exclude={"phases", "watch"})
        run = RunOf(self._run, plan.phase.name, plan.identity, settings)
        folder = plan.export_to.rpartition("/")[0]
        self._trackers = trackers(plan.settings.watch, run, store=plan.store, folder=folder, from_step=done)

    def _step(self, told: Stepped) -> None:
        # What a group that is gone had told last may come after the next group's beginning.
        if told.step == self._events.steps + 1:
            self._show(told.step, self._line(told))

    def _line(self, told: Stepped) -> dict[str, float]:
        """Add a step's lines; its figures."""
        assert self._figures is not None
        figures = self._figures.of(told)
        self._note("step", told.step, {**figures, "time": told.time} if told.time else figures)
        if told.skipped is not None:
            self._note("skip", told.step, {"why": told.skipped})
        if told.validation is not None:
            self._note("validation", told.step, {"loss": told.validation})
            figures["validation_loss"] = told.validation
        return figures

    def _note(self, event: str, step: int, figures: Mapping[str, Any]) -> None:
        self._events.add(event, step, figures)

    def _show(self, step: int, figures: Mapping[str, float]) -> None:
        doing.told("train", {"step": step, **figures})
        for tracker in self._trackers:
            tracker.log(step, figures)

    def _tried(self, call: Callable[[], None]) -> None:
        try:
            call()
        except (Stop, OSError) as error:
            if not self._warned:
                warn(f"the events of training are not complete: {error}")
            self._warned = True


class Figures:
    """A step's figures, from what rank 0 tells of it and from the packs."""

    def __init__(self, plan: PhasePlan, begun: Begun) -> None:
        self.begun = begun
        self.memory: dict[int, Memory] = {}
        self._windows = Windows(plan.store, plan.packs)
        self._flops: dict[int, float] = {}
        self._skipped = {int(number) + 1 for number in begun.history.skipped}
        self._seconds: deque[float] = deque(maxlen=_LAST)
        self._in_an_epoch = math.ceil(self._windows.meta.windows / plan.settings.batch_windows)
        self._ranks = {int(step): ranks for step, ranks in begun.history.ranks.items()}

    def of(self, told: Stepped) -> dict[str, float]:
        """The figures of a step; what is not known is left out."""
        self._seconds.append(told.seconds)
        if told.skipped is not None:
            self._skipped.add(told.step)
        positions = len(told.windows) * self._windows.meta.window
        last = max((step for step in self._ranks if step < told.step), default=0)
        figures = {
            "loss": told.loss,
            "grad_norm": told.grad_norm,
            "lr": told.lr,
            "tokens": told.tokens,
            "trained_tokens": told.trained,
            "tokens_per_s": told.tokens / told.seconds,
            "seconds": told.seconds,
            "data_wait_s": told.waited,
            "padding_fraction": 1 - told.tokens / max(1, positions),
            "skipped": sum(number <= told.step for number in self._skipped),
            "epoch": (told.step - 1) // self._in_an_epoch,
            "ranks": self._ranks.get(last, self.begun.ranks),
        }
        if told.time is not None:
            figures["seconds_left"] = (self.begun.total - told.step) * sum(self._seconds) / len(self._seconds)
        if self.begun.peak_flops is not None:
            done = sum(map(self._of_window, told.windows))
            figures["mfu"] = done / told.seconds / self.begun.peak_flops
        if told.memory is not None:
            self.memory[0] = told.memory
            figures |= _memory(list(self.memory.values()))
        return figures

    def _of_window(self, number: int) -> float:
        if number not in self._flops:
            lengths = self._windows[number].lengths
            self._flops[number] = self.begun.work.of(lengths, self._windows.meta.num_labels[number])
        return self._flops[number]


def _memory(held: Sequence[Memory]) -> dict[str, float]:
    """GiB of the rank that holds the most."""
    figures = {"host_gib": max(one.host for one in held), "host_peak_gib": max(one.host_peak for one in held)}
    for name in ("gpu", "gpu_peak"):
        values = [value for one in held if (value := getattr(one, name)) is not None]
        if values:
            figures[f"{name}_gib"] = max(values)
    return figures


@contextlib.contextmanager
def recorded(plan: PhasePlan, *, run: str, exported: Callable[[int], None] = lambda _: None) -> Iterator[Any]:
    """An inbox for the ranks of a phase, and what the driver finds out, for the length of the block.

    Yields the inbox (an actor) and the recorder. Raises Stop when a tracker that the recipe asks for is not installed.
    """
    check_installed(plan.settings.watch)
    inbox = Inbox.options(scheduling_strategy=beside_driver()).remote()  # type: ignore[attr-defined]
    recorder, ended = Recorder(plan, run=run, exported=exported), threading.Event()
    taking = threading.Thread(target=_taking, args=(inbox, recorder, ended), daemon=True)
    taking.start()
    try:
        yield inbox, recorder
    finally:
        ended.set()
        taking.join()
        ray.kill(inbox)


def _taking(inbox: Any, recorder: Recorder, ended: threading.Event) -> None:
    is_last = False
    try:
        while not is_last:
            is_last = ended.wait(_TAKE_S)
            recorder.take(ray.get(inbox.take.remote(), timeout=60))
    except Exception as error:  # noqa: BLE001 whatever is wrong with watching must not end training, nor go unsaid
        warn(f"training is no longer watched: {type(error).__name__}: {error}")
    finally:
        recorder.close()
