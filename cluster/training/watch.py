"""What a rank tells its driver after each step, and the exports that are measured while training goes on.

Everything that takes time with figures (files, trackers, the network) is the driver's: a rank only sends values.
"""

import resource
import time
from collections.abc import Callable

import psutil
import torch
import torch.distributed as dist

from cluster.training.flops import work_of
from cluster.training.plan import History, PhasePlan
from cluster.training.told import MARK, Begun, Exported, Held, Memory, Saved, Told, step_folder, stepped
from cluster.training.zero import Opened
from pipeline.errors import Stop
from pipeline.training.flops import peak_flops
from pipeline.training.settings import TrainSettings

_HELD_EVERY_S = 10.0
_GIB = 2**30


class Watch:
    """Tells the driver of a rank's steps; every rank has one.

    `send` must not wait; `export` is called on every rank, and writes a model into a folder or raises Stop on all.
    """

    def __init__(self, send: Callable[[Told], None], export: Callable[[Opened, str], None]) -> None:
        self._send, self._export = send, export
        self._process = psutil.Process()
        self._held = 0.0
        self._model: Opened | None = None

    def begun(self, model: Opened, plan: PhasePlan, history: History, total: int) -> None:
        """The model is open and the checkpoint, if any, is in it; every rank calls it."""
        self._model = model
        if dist.get_rank() != 0:
            return
        ranks = dist.get_world_size()
        work = work_of(model.engine.module.model)
        self._send(Begun(history, total, ranks, work, _peak(plan.settings, ranks), time.time()))

    def told(self, plan: PhasePlan, history: History, total: int) -> None:
        """A step is done; every rank calls it."""
        if dist.get_rank() == 0:
            self._send(stepped(history, history.done - 1, memory=self._memory(), time=time.time()))
        elif time.monotonic() - self._held > _HELD_EVERY_S:
            self._held = time.monotonic()
            self._send(Held(dist.get_rank(), self._memory()))
        every = plan.settings.watch.evaluate_steps
        # The last step's model is the phase's own, which is measured when it is done.
        if every is not None and history.done % every == 0 and history.done < total:
            self._export_for(plan, history.done)

    def saved(self, history: History) -> None:
        """A checkpoint is handed over to be kept; every rank calls it."""
        if dist.get_rank() == 0:
            self._send(Saved(history.done, time.time()))

    def _export_for(self, plan: PhasePlan, step: int) -> None:
        folder = step_folder(plan, step)
        if not _agreed(lambda: not plan.store.exists(f"{folder}/{MARK}")):
            # Exported before the group was lost; it may be measured already.
            return
        started, failed = time.monotonic(), None
        assert self._model is not None
        try:
            self._export(self._model, f"{folder}/model")
            _agreed(lambda: _marked(plan, folder, step))
        except Stop as stop:
            failed = str(stop)
        if dist.get_rank() == 0:
            self._send(Exported(step, time.monotonic() - started, failed, time.time()))

    def _memory(self) -> Memory:
        host = self._process.memory_info().rss / _GIB
        # In KiB on Linux, and a little behind.
        peak = max(host, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB)
        if not torch.cuda.is_available() or not torch.cuda.is_initialized():
            return Memory(host, peak)
        return Memory(host, peak, torch.cuda.memory_allocated() / _GIB, torch.cuda.max_memory_allocated() / _GIB)


def _agreed(decide: Callable[[], bool]) -> bool:
    """What rank 0 decides, on every rank; a Stop of it is raised on every one."""
    said: list[bool | Stop] = [False]
    if dist.get_rank() == 0:
        try:
            said = [decide()]
        except Stop as stop:
            said = [stop]
    dist.broadcast_object_list(said, src=0)
    if isinstance(said[0], Stop):
        raise said[0]
    return said[0]


def _marked(plan: PhasePlan, folder: str, step: int) -> bool:
    plan.store.write_json(f"{folder}/{MARK}", {"step": step, "identity": plan.identity})
    return True


def _peak(settings: TrainSettings, ranks: int) -> float | None:
    if settings.device == "cpu" or settings.dtype != "bfloat16":
        return None
    peak = peak_flops(torch.cuda.get_device_name())
    return None if peak is None else peak * ranks
