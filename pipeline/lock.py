"""One command at a time on a run: two would each keep their own books, and spend the budget twice."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil

from pipeline.errors import Stop
from pipeline.store import Store

_NAME = "lock.json"
_BEAT_S, _GRACE_S = 10.0, 20.0
STALE_S = 60.0
"""Seconds without a sign of life after which a command on another machine counts as gone."""


@contextlib.contextmanager
def locked(store: Store, *, command: str) -> Iterator[None]:
    """Hold the run's lock for the length of the block.

    Raises Stop while another command holds it. One whose process is gone is taken over: at once on the same machine,
    after a minute without a sign of life on another. Two that start in the same instant may both get it. Where another
    command took it over meanwhile, as from a machine that slept, the block is interrupted and a Stop is raised.
    """
    held = _read(store)
    if held is not None and _lives(held):
        raise Stop(
            f"{held['command']} (process {held['process']} on {held['machine']}) works on {store.root} right now: wait "
            f"until it ends, or end it; if it is gone for sure, delete {store.address(_NAME)}"
        )
    mine = {
        "command": command,
        "machine": os.uname().nodename,
        "process": os.getpid(),
        "started": _started(os.getpid()),
    }
    _beat(store, mine)
    ended, lost = threading.Event(), threading.Event()
    beating = threading.Thread(target=_beat_on, args=(store, mine, ended, lost), daemon=True)
    beating.start()
    try:
        yield
        if lost.is_set():
            raise Stop(_lost(store))
    except KeyboardInterrupt:
        if not lost.is_set():
            raise
        raise Stop(_lost(store)) from None
    finally:
        ended.set()
        beating.join(timeout=30)
        if not lost.is_set():
            store.delete(_NAME)


def holder(store: Store) -> dict[str, Any] | None:
    """Who holds a run's lock: command, machine, process, and `beat`, the time of its last sign of life; else None."""
    return _read(store)


def _read(store: Store) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError, ValueError):
        held: dict[str, Any] = store.read_json(_NAME)
        return held
    return None


def _lives(held: dict[str, Any]) -> bool:
    if held["machine"] == os.uname().nodename:
        # However long ago its last sign of life: a machine that slept wakes up again.
        return bool(_started(held["process"]) == held["started"])
    return bool(time.time() - held["beat"] <= STALE_S)


def _lost(store: Store) -> str:
    return f"another command took {store.root} over, as this one gave no sign of life: let that one end"


def _started(process: int) -> float | None:
    """When a process was started; None when it is gone, or killed and not yet waited for: that works on nothing."""
    try:
        found = psutil.Process(process)
        return None if found.status() == psutil.STATUS_ZOMBIE else found.create_time()
    except psutil.NoSuchProcess:
        return None


def _beat(store: Store, mine: dict[str, Any]) -> None:
    store.write_json(_NAME, {**mine, "beat": time.time()})


def _beat_on(store: Store, mine: dict[str, Any], ended: threading.Event, lost: threading.Event) -> None:
    main = threading.main_thread().ident or 0
    while not ended.wait(_BEAT_S):
        # A full disk, or a store out of reach, is the work's to report; the lock just grows stale.
        with contextlib.suppress(Stop, OSError):
            held = _read(store)
            if held is not None and any(held.get(key) != mine[key] for key in ("machine", "process", "started")):
                lost.set()
                # As Ctrl-C would: whatever the main thread waits for ends.
                signal.pthread_kill(main, signal.SIGINT)
                if not ended.wait(_GRACE_S):
                    # It ignores that, as what a script starts with & does.
                    print(f"error: {_lost(store)}", file=sys.stderr, flush=True)
                    os._exit(1)
                return
            _beat(store, mine)
