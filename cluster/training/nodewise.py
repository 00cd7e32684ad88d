"""Work that one rank of each machine does for the others there."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist

_LOOK_EVERY_S = 0.1


def made_once(mine: Path, make: Callable[[Path], None]) -> Path:
    """What the first rank of this machine makes in its own folder `mine`; every rank calls it, and waits for it.

    The wait has no time limit, unlike a collective's: a large checkpoint takes long. When the first rank fails, whoever
    started the ranks ends the others.
    """
    everyone: list[Any] = [None] * dist.get_world_size()
    here = _machine(mine)
    dist.all_gather_object(everyone, (here, str(mine)))
    machines = [machine for machine, _ in everyone]
    first = machines.index(here)
    folder = Path(everyone[first][1])
    if first == dist.get_rank():
        make(folder / "made")
        (folder / "done").touch()
    while not (folder / "done").exists():
        time.sleep(_LOOK_EVERY_S)
    return folder / "made"


def _machine(mine: Path) -> tuple[str, str, int, int]:
    # Two containers of one machine share its boot, and may its name, but not a disk; two machines may share a name.
    boot, disk = Path("/proc/sys/kernel/random/boot_id"), mine.parent.stat()
    return socket.gethostname(), boot.read_text() if boot.exists() else "", disk.st_dev, disk.st_ino
