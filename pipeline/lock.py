"""One command at a time on a run: two would each keep their own books, and spend the budget twice."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import Stop
from pipeline.store import Store

_NAME = "lock.json"
_BEAT_S, _STALE_S = 10.0, 60.0


@contextlib.contextmanager
def locked(store: Store, *, command: str) -> Iterator[None]:
    """Hold the run's lock for the length of the block.

    Raises Stop while another command holds it. One whose process is gone is taken over: at once on the same machine,
    after a minute without a sign of life on another. Storage without an atomic create leaves a gap of an instant.
    """
    held = _read(store)
    if held is not None and _lives(held):
        raise Stop(
            f"{held['command']} (process {held['process']} on {held['machine']}) works on {store.root} right now: wait "
            f"until it ends, or end it; if it is gone for sure, delete {store.address(_NAME)}"
        )
    mine = {"command": command, "machine": os.uname().nodename, "process": os.getpid()}
    _beat(store, mine)
    ended = threading.Event()
    beating = threading.Thread(target=_beat_on, args=(store, mine, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join(timeout=30)
        store.delete(_NAME)


def _read(store: Store) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError, ValueError):
        held: dict[str, Any] = store.read_json(_NAME)
        return held
    return None


def _lives(held: dict[str, Any]) -> bool:
    if time.time() - held["beat"] > _STALE_S:
        return False
    return held["machine"] != os.uname().nodename or _is_running(held["process"])


def _is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    try:
        # A process that was killed and not yet waited for is a zombie: it works on nothing.
        return status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        pass
    if Path("/proc").is_dir():
        return False
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _beat(store: Store, mine: dict[str, Any]) -> None:
    store.write_json(_NAME, {**mine, "beat": time.time()})


def _beat_on(store: Store, mine: dict[str, Any], ended: threading.Event) -> None:
    while not ended.wait(_BEAT_S):
        # A full disk is the work's to report; the lock just grows stale.
        with contextlib.suppress(Stop):
            _beat(store, mine)
