"""Measure the models of some steps on the held-out problems while training goes on, on what the cluster has beside it.

A thread of the driver runs the very stream that jobs.evaluate runs. (Ray Train's own validation would run it inside a
task: without the job's lock, its stop, and the figures' one writer.) Without room it waits until training has ended; of
several models that wait the newest is measured first, and the oldest are given up if they are too many. Measured
weights are deleted, but for those of the best step so far (the mean of pass@1 over the benchmarks; the earlier of
equals). A step that is measured is never measured again.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

from ray.exceptions import RayError

from cluster.asks import ModelAt, Part
from cluster.curation import shard_name
from cluster.models import identity
from cluster.placement import bundles
from cluster.progress import warn
from cluster.room import wait_for_room
from cluster.session import never_again
from cluster.training.plan import PhasePlan
from cluster.training.recorder import Recorder, recorded
from cluster.training.told import MARK, evaluations_folder, step_folder
from jobs.curate import BENCHMARK_SHARDS, benchmark_folder
from jobs.draws import drawn
from jobs.evaluate import ask_of
from jobs.job import reason
from jobs.measure import counted
from jobs.recipe import Recipe
from pipeline.errors import Stop
from pipeline.scores.score import scored
from pipeline.store import Store

_SCORES = "scores.json"
_KEYS = ("problems", "samples", "pass@1", "ci95", "mean_tokens", "truncated")

Note = Callable[[str, int, Mapping[str, Any]], None]


@contextlib.contextmanager
def watching(recipe: Recipe, plan: PhasePlan) -> Iterator[Any]:
    """An inbox for what the ranks of a phase tell; their models are measured until all that were exported are.

    Raises Stop when the recipe asks for what can't be: a tracker that is not installed, or no benchmark to measure on.
    """
    if plan.settings.watch.evaluate_steps is not None and not recipe.evaluate.benchmarks:
        raise Stop("train.watch.evaluate_steps needs held-out problems: add evaluate.benchmarks, or leave it out")
    measured = Checkpoints(recipe, plan, is_training=True)
    with recorded(plan, run=recipe.name, exported=lambda _: measured.look()) as (inbox, recorder):
        measured.start(recorder.add)
        try:
            yield inbox
        except BaseException:
            measured.give_up()
            raise
        measured.finish()


def measured(recipe: Recipe, plan: PhasePlan) -> list[dict[str, Any]]:
    """The scores of a phase's steps, one entry a benchmark; what a killed driver left unmeasured is measured first."""
    left = Checkpoints(recipe, plan, is_training=False)
    if left.waiting():
        recorder = Recorder(plan, run=recipe.name)
        left.start(recorder.add)
        left.finish()
        recorder.close()
    return [entry for step in _steps(plan) for entry in _entries(plan.store, plan, step)]


class Checkpoints:
    """The models of a phase that wait to be measured, one at a time; `score` gives a step's figures by benchmark."""

    def __init__(
        self,
        recipe: Recipe,
        plan: PhasePlan,
        *,
        is_training: bool,
        score: Callable[[int], dict[str, Any]] | None = None,
    ) -> None:
        self._recipe, self._plan, self._store = recipe, plan, plan.store
        self._score = score or self._drawn
        self._now: int | None = None
        self._changed = threading.Condition()
        self._is_training, self._given_up, self._is_new = is_training, False, True
        self._note: Note = lambda *_: None
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)

    def start(self, note: Note) -> None:
        """Begin to measure; what comes out is told to `note`, in another thread."""
        self._note = note
        self._thread.start()

    def look(self) -> None:
        """A model was exported."""
        waiting = [step for step in self.waiting() if step != self._now]
        for step in waiting[: -self._plan.settings.watch.evaluate_waiting]:
            self._done(step, {}, 0.0, "newer checkpoints waited, and there was no time for all")
        with self._changed:
            self._is_new = True
            self._changed.notify()

    def finish(self) -> None:
        """Training has ended: measure what waits, and come back when that is done."""
        with self._changed:
            self._is_training, self._is_new = False, True
            self._changed.notify()
        left = len(self.waiting())
        if left:
            name = self._plan.phase.name
            print(f"phase {name} waits for {left} checkpoints to be measured", file=sys.stderr, flush=True)
        self._thread.join()

    def give_up(self) -> None:
        """Training has failed: what waits is measured when the command is run again."""
        with self._changed:
            self._is_training, self._given_up = False, True
            self._changed.notify()
        never_again()

    def waiting(self) -> list[int]:
        """The steps whose models are there and not measured, in order."""
        return [step for step in _steps(self._plan) if not self._store.exists(self._name(step, _SCORES))]

    def _name(self, step: int, name: str) -> str:
        return f"{step_folder(self._plan, step)}/{name}"

    def _work(self) -> None:
        try:
            ended = False
            while not ended and not self._given_up:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_new or self._given_up)
                    self._is_new, ended = False, not self._is_training
                while self.waiting() and not self._given_up:
                    if self._is_training:
                        wait_for_room(_bundles(self._recipe), until=lambda: not self._is_training, full=self._full)
                    self._measure()
        except (Stop, OSError, RayError) as error:
            if not self._given_up:
                warn(f"checkpoints are no longer measured: {reason(error)}")

    def _full(self) -> None:
        print(
            "the cluster has no room to measure checkpoints beside training: they wait for it, or until it has ended",
            file=sys.stderr,
            flush=True,
        )

    def _measure(self) -> None:
        self._now = step = max(self.waiting())
        started, scores, failed = time.monotonic(), {}, None
        # Twice: a node that is taken back says nothing of the model, and what was drawn is in the ledger.
        for _ in range(2):
            try:
                scores, failed = self._score(step), None
                break
            except Exception as error:  # noqa: BLE001 whatever is wrong with an engine or a model must not end training
                if self._given_up:
                    # What is amiss is that training ended around it.
                    return
                failed = reason(error)
        self._done(step, scores, round(time.monotonic() - started, 1), failed)

    def _done(self, step: int, scores: Mapping[str, Any], seconds: float, failed: str | None) -> None:
        said = {"step": step, "seconds": seconds, "failed": failed, "benchmarks": scores}
        self._store.write_json(self._name(step, _SCORES), said)
        self._tell(step, scores, seconds, failed)
        self._keep_the_best()

    def _drawn(self, step: int) -> dict[str, Any]:
        parts = list(_parts(self._recipe, self._plan, step))
        address = self._store.address(self._name(step, "model"))
        engine = ModelAt(self._recipe.student.engine, address, identity(address))
        ask = ask_of(self._recipe, "student", engine)
        draws = self._recipe.train.watch.evaluate_draws
        ask = replace(ask, generation=ask.generation.model_copy(update={"draws": draws}), beside=())
        title = f"measure {self._plan.phase.name} step {step}"
        for _ in drawn(self._recipe, parts, of=["student"], asks=lambda _: [ask], title=title, shown=False):
            pass
        return {
            name: {key: value for key, value in found.items() if key in _KEYS}
            for name in self._recipe.evaluate.benchmarks
            for found in [scored(counted(self._store, self._name(step, name))).as_json()]
        }

    def _tell(self, step: int, scores: Mapping[str, Any], seconds: float, failed: str | None) -> None:
        if failed is not None:
            warn(f"the model of step {step} could not be measured: {failed}")
            self._note("evaluation_failed", step, {"why": failed, "seconds": seconds})
        for name, found in scores.items():
            self._note("evaluation", step, {"benchmark": name, **found, "seconds": seconds})
        if scores:
            told = ", ".join(f"{name} pass@1 {_shown(found)}" for name, found in scores.items())
            print(f"step {step} of {self._plan.phase.name}: {told}", file=sys.stderr, flush=True)

    def _keep_the_best(self) -> None:
        done = {step: _mean(self._store, self._plan, step) for step in _steps(self._plan)}
        means = {step: mean for step, mean in done.items() if mean is not None}
        best = max(means, key=lambda step: (means[step], -step), default=None)
        for step in done:
            if step != best and self._store.exists(self._name(step, _SCORES)):
                self._store.delete_folder(self._name(step, "model"))


def _steps(plan: PhasePlan) -> list[int]:
    """The steps whose models were exported whole, in order."""
    names = plan.store.names_below(evaluations_folder(plan), MARK)
    return sorted(int(name.split("/")[-2].removeprefix("step-")) for name in names)


def _parts(recipe: Recipe, plan: PhasePlan, step: int) -> Iterator[Part]:
    for benchmark in recipe.evaluate.benchmarks:
        for shard in map(shard_name, range(BENCHMARK_SHARDS)):
            traces = f"{step_folder(plan, step)}/{benchmark}/{shard}.parquet"
            if not plan.store.exists(traces):
                folder = benchmark_folder(benchmark)
                yield Part(problems=f"{folder}/{shard}.parquet", ledger=f"{folder}/{shard}", traces=traces)


def _bundles(recipe: Recipe) -> list[dict[str, float]]:
    """What an engine and a verifier take of the cluster."""
    engine = recipe.student.engine
    of_engine = (
        bundles(gpus=engine.tensor_parallel, cpus=engine.cpus) if engine.device == "gpu" else [{"CPU": engine.cpus}]
    )
    return [*of_engine, {"CPU": recipe.stream.verifier_cpus}]


def _entries(store: Store, plan: PhasePlan, step: int) -> list[dict[str, Any]]:
    name = f"{step_folder(plan, step)}/{_SCORES}"
    if not store.exists(name):
        return []
    held = store.read_json(name)
    if held["failed"] is not None:
        return [{"step": step, "failed": held["failed"]}]
    kept = store.exists(f"{step_folder(plan, step)}/model")
    model = {"model": store.address(f"{step_folder(plan, step)}/model")} if kept else {}
    return [{"step": step, "benchmark": name, **found, **model} for name, found in held["benchmarks"].items()]


def _mean(store: Store, plan: PhasePlan, step: int) -> float | None:
    """The mean of pass@1 over the benchmarks; None where there is none."""
    rates = [entry["pass@1"] for entry in _entries(store, plan, step) if entry.get("pass@1") is not None]
    return fmean(rates) if rates else None


def _shown(found: Mapping[str, Any]) -> str:
    if found["pass@1"] is None or found["ci95"] is None:
        return "unknown"
    low, high = found["ci95"]
    return f"{found['pass@1']:.3f} [{low:.3f}, {high:.3f}] of {found['problems']}"
