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
    dist.all_gather_object(everyone, (_machine(), str(mine)))
    machines = [machine for machine, _ in everyone]
    first = machines.index(_machine())
    folder = Path(everyone[first][1])
    if first == dist.get_rank():
        make(folder / "made")
        (folder / "done").touch()
    while not (folder / "done").exists():
        time.sleep(_LOOK_EVERY_S)
    return folder / "made"


def _machine() -> tuple[str, str]:
    # Two containers of one machine share its boot, two machines may share a name.
    boot = Path("/proc/sys/kernel/random/boot_id")
    return socket.gethostname(), boot.read_text() if boot.exists() else ""
