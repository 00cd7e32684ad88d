"""What made a training end, as one line for people, and whether another try could get further."""

import errno
from collections.abc import Mapping
from typing import Any

import ray.exceptions
from ray.train import ControllerError, TrainingFailedError, UserCallback, WorkerGroupError

from pipeline.errors import Stop

_HOPELESS = {
    errno.ENOSPC: "no space is left there: free some",
    errno.EDQUOT: "the disk quota there is used up: free some",
    errno.EFBIG: "files there may not be so long: raise the limit",
    errno.EACCES: "no permission to write there: give it",
    errno.EROFS: "the file system is read-only: mount it for writing",
}
# What ranks see of another's death, or of a network or a store that was away for a while.
_MAY_PASS = (ray.exceptions.RayError, RuntimeError, OSError, TimeoutError)


class GiveUp(UserCallback):
    """Ends a training whose ranks failed of something that another try would meet again; Ray would try on."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called in Ray's controller; what is raised here ends the training."""
        found = hopeless(worker_exceptions)
        if found is not None:
            raise found


def unwritten(path: str, error: OSError) -> Stop | None:
    """The line on a checkpoint that can't be stored; None where that may pass."""
    why = _HOPELESS.get(error.errno or 0)
    if why is None:
        return None
    return Stop(f"can't write a checkpoint to {path}: {why} and run the same command again: the last one is kept")


def hopeless(failures: Mapping[int, BaseException]) -> Stop | None:
    """The line on a failure that would come again, given what each rank raised; None where another try may do."""
    stops = [error for _, error in sorted(failures.items()) if isinstance(error, Stop)]
    if stops:
        return stops[0]
    for rank, error in sorted(failures.items()):
        # By name: the driver does not load torch for it.
        if type(error).__name__ == "OutOfMemoryError" and type(error).__module__.startswith("torch"):
            return Stop(
                f"rank {rank} has not enough GPU memory ({_first(error)}): lower train.window or train.loss_chunk, "
                "set train.offload or train.sequence_parallel, or use more workers"
            )
        # Wrapped deaths of workers are Ray's own errors too, by name only.
        if not isinstance(error, _MAY_PASS) and not type(error).__module__.startswith("ray."):
            return Stop(f"rank {rank} failed: {type(error).__name__}: {_first(error)}")
    return None


def line(error: TrainingFailedError) -> str:
    """What made a training end."""
    if isinstance(error, ControllerError):
        cause = error.controller_failure
        if isinstance(cause, Stop):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in _HOPELESS:
            return f"Ray's controller can't write its note of checkpoints: {_HOPELESS[cause.errno]}"
        return f"Ray's controller failed: {type(cause).__name__}: {_first(cause)}"
    if isinstance(error, WorkerGroupError):
        found = hopeless(error.worker_failures)
        if found is not None:
            return str(found)
        rank, cause = min(error.worker_failures.items(), key=_telling)
        return f"rank {rank} {_lost(cause)}, once more than train.max_failures allows"
    return _first(error)


def _telling(failure: tuple[int, BaseException]) -> tuple[bool, int]:
    """A dead worker tells more than the broken connections that it leaves."""
    rank, error = failure
    return isinstance(error, (RuntimeError, OSError)), rank


def _lost(error: BaseException) -> str:
    # Ray Train wraps what a dead worker's handle raises.
    inner = getattr(error, "health_check_failure", error)
    if isinstance(inner, ray.exceptions.OutOfMemoryError):
        return "was ended by Ray as its node's memory ran out (lower train.window, or give a worker more)"
    if isinstance(inner, ray.exceptions.RayActorError):
        return "is gone: its process was killed, or its node lost"
    return f"failed: {type(inner).__name__}: {_first(inner)}"


def _first(error: BaseException) -> str:
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    return lines[0][:300] if lines else "no more is known"
