"""Ranks that would train on different things are told apart before the first step."""

import platform
import socket
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch.distributed as dist

from cluster.training.plan import PhasePlan
from pipeline.errors import Stop

_LIBRARIES = ("torch", "deepspeed", "transformers", "ray", "pyarrow", "numpy", "peft", "safetensors", "flash_attn")


def agree(plan: PhasePlan) -> None:
    """Compare what all ranks are about to do; every rank calls it. Raises Stop that names what differs, and where."""
    everyone: list[tuple[str, dict[str, str]] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, (socket.gethostname(), facts(plan)))
    found = difference([each for each in everyone if each is not None])
    if found is not None:
        raise Stop(found)


def facts(plan: PhasePlan) -> dict[str, str]:
    """What must be the same on every rank, by name."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _LIBRARIES},
        "longthought's code": _code(),
        "the plan of the phase": sha256(repr(plan).encode()).hexdigest()[:12],
        f"{plan.store.address(plan.packs)}/meta.json": _packs(plan),
    }


def difference(everyone: Sequence[tuple[str, dict[str, str]]]) -> str | None:
    """One line on the first fact that is not the same on all ranks, given each rank's node and facts."""
    for name in everyone[0][1]:
        values = Counter(facts[name] for _, facts in everyone)
        if len(values) == 1:
            continue
        usual = max(values, key=lambda value: (values[value], value))
        rank, node, value = next(
            (rank, node, facts[name]) for rank, (node, facts) in enumerate(everyone) if facts[name] != usual
        )
        return (
            f"the ranks disagree on {name}: {value} on node {node} (rank {rank}), {usual} on {values[usual]} of "
            f"{len(everyone)} ranks: give all nodes the same installation and the same storage"
        )
    return None


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def _code() -> str:
    """The hash of our own Python files, as they are on this node."""
    root = Path(__file__).resolve().parents[2]
    digest = sha256()
    for package in ("cluster", "pipeline"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _packs(plan: PhasePlan) -> str:
    try:
        text = plan.store.read_text(f"{plan.packs}/meta.json")
    except FileNotFoundError:
        return "not there"
    return sha256(text.encode()).hexdigest()[:12]
