"""Whether a cluster can hold what a step needs at the least, with the nodes it has and those its autoscaler may add."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.placement import Work, labels_of
from pipeline.errors import Stop

_CONFIG = "--autoscaling-config="
_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one actor or rank takes of a node, and which work it is."""

    of: str
    """Who needs it, as people say it."""
    work: Work
    resources: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Kind:
    """Nodes of one kind: what one has, its labels, and how many there are or may be."""

    resources: Mapping[str, float]
    labels: Mapping[str, str]
    count: int


def check_needs(step: str, bundles: Sequence[Bundle], *, alone: bool) -> None:
    """Raise Stop, in one line that says what is missing, where a step's bundles never fit beside each other.

    `alone`: it is a Ray of this machine, to which no nodes come. Where an autoscaler is at work whose nodes are not
    known from here (on Kubernetes), nothing is said.
    """
    kinds = _kinds(alone)
    if kinds is None:
        return
    missing = unplaced(bundles, kinds, {bundle.work: labels_of(bundle.work) for bundle in bundles})
    if missing is None:
        return
    where = f" on a node with {_labelled(labels_of(missing.work))}" if labels_of(missing.work) else ""
    beside = f", beside {len(bundles) - 1} more of this step," if len(bundles) > 1 else ""
    raise Stop(
        f"{step} never starts on this cluster: {missing.of} needs {_amounts(missing.resources)}{where}{beside} and "
        f"{_most(kinds, labels_of(missing.work))}; add nodes, or ask for less in the recipe"
    )


def unplaced(
    bundles: Sequence[Bundle], kinds: Sequence[Kind], labels: Mapping[Work, Mapping[str, str]]
) -> Bundle | None:
    """The first bundle without a place, each put on the first node with room, large ones first; None if all fit."""
    rooms = [dict(kind.resources) for kind in kinds for _ in range(min(kind.count, len(bundles)))]
    told = [kind.labels for kind in kinds for _ in range(min(kind.count, len(bundles)))]
    for bundle in sorted(bundles, key=lambda one: (-one.resources.get("GPU", 0.0), -one.resources.get("CPU", 0.0))):
        wanted = labels[bundle.work].items()
        for room, there in zip(rooms, told, strict=True):
            if wanted <= there.items() and _fits(bundle.resources, room):
                for name, amount in bundle.resources.items():
                    room[name] -= amount
                break
        else:
            return bundle
    return None


def _fits(wanted: Mapping[str, float], room: Mapping[str, float]) -> bool:
    return all(room.get(name, 0.0) + _SLACK >= amount for name, amount in wanted.items())


def _kinds(alone: bool) -> list[Kind] | None:
    """The nodes that are here, and those that may come; None where these are not known."""
    here = [Kind(node["Resources"], node["Labels"], 1) for node in ray.nodes() if node["Alive"]]
    coming = [] if alone else _coming()
    return None if coming is None else [*here, *coming]


def _coming() -> list[Kind] | None:
    """Node types of the head's autoscaler; none without one, None where another program adds nodes."""
    heads = [node for node in ray.nodes() if node["Alive"] and "node:__internal_head__" in node["Resources"]]
    if not heads:
        return None
    on_head = NodeAffinitySchedulingStrategy(heads[0]["NodeID"], soft=False)
    asked = ray.remote(num_cpus=0)(_autoscaler).options(scheduling_strategy=on_head)
    told = ray.get(asked.remote(ray.get_runtime_context().gcs_address))
    if told is None:
        return None
    types = told.get("available_node_types", {})
    head_type = told.get("head_node_type")
    return [
        Kind(each.get("resources", {}), each.get("labels", {}), each.get("max_workers", told.get("max_workers", 0)))
        for name, each in types.items()
        if name != head_type
    ]


def _autoscaler(gcs_address: str) -> dict[str, Any] | None:
    """The head's autoscaler's own configuration; empty where it has none, None where it runs elsewhere. On the head."""
    monitors = [
        line
        for line in map(_command, psutil.process_iter())
        # There may be several Rays on the machine.
        if any("monitor.py" in part for part in line) and any(gcs_address in part for part in line)
    ]
    if not monitors:
        # KubeRay's runs in a container beside the head's.
        return None
    files = [part.removeprefix(_CONFIG) for line in monitors for part in line if part.startswith(_CONFIG)]
    return _read(Path(files[0]).expanduser()) if files and files[0] else {}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _read(file: Path) -> dict[str, Any] | None:
    try:
        told = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError):
        return None
    return told if isinstance(told, dict) else None


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())


def _labelled(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def _most(kinds: Sequence[Kind], labels: Mapping[str, str]) -> str:
    fitting = [kind for kind in kinds if labels.items() <= kind.labels.items() and kind.count]
    if not fitting:
        there = sorted({_labelled({name: kind.labels.get(name, "none") for name in labels}) for kind in kinds})
        return f"there is no such node, nor will one come (there are {'; '.join(there) or 'none'})"
    return (
        f"there is at most {'; '.join(sorted({f'{_counted(kind)} with {_shown(kind.resources)}' for kind in fitting}))}"
    )


def _counted(kind: Kind) -> str:
    return f"{kind.count} node{'s' if kind.count > 1 else ''}"


def _shown(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0.0):g} {name}" for name in ("CPU", "GPU"))
