"""A rank's folder on its node's disk, gone with the rank: what killed ranks left there is deleted by the next one."""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import Stop


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder for this process; it is deleted at the end of the block, or by whoever comes after a kill."""
    base = Path(tempfile.gettempdir()) / f"longthought-{os.getuid()}" / "checkpoints"
    try:
        base.mkdir(parents=True, exist_ok=True)
        _sweep(base)
        folder = base / uuid.uuid4().hex[:12]
        lock = _locked(base, folder)
        folder.mkdir()
    except OSError as error:
        raise Stop(f"can't write {base} on this node: {error.strerror}: set TMPDIR to a disk with room") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)
        os.close(lock)


def _locked(base: Path, folder: Path) -> int:
    # The system lets go of the lock when the process ends, however it ends. It is taken before the file has its name:
    # a sweep never sees one that is not held.
    with tempfile.TemporaryDirectory(dir=base.parent) as beside:
        handle = os.open(Path(beside) / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        (Path(beside) / "lock").rename(folder.with_suffix(".lock"))
    return handle


def _sweep(base: Path) -> None:
    for mark in base.glob("*.lock"):
        try:
            handle = os.open(mark, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(mark.with_suffix(""), ignore_errors=True)
            mark.unlink(missing_ok=True)
        finally:
            os.close(handle)
