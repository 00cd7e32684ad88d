"""Where an engine over several GPUs lies: a Ray placement group, which may span nodes; and what lies beside the driver.

Seen at work only as far as a machine without GPUs allows: the options and the groups, not vLLM inside one.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

Work = Literal["cpu", "engines", "training"]
"""What a node is for: calls, verification and all else that takes CPUs; vLLM; ranks."""

_made: list[PlacementGroup] = []
_labels: dict[Work, Mapping[str, str]] = {}


def keep_apart(labels: Mapping[Work, Mapping[str, str]]) -> None:
    """From now on this driver puts each kind of work on nodes with these Ray labels; empty ones mean any node."""
    _labels.update(labels)


def labels_of(work: Work) -> Mapping[str, str]:
    """The Ray labels of the nodes that a kind of work goes to."""
    return _labels.get(work, {})


def on(work: Work) -> dict[str, Any]:
    """The remote options that put a task or an actor on the nodes for its kind of work; none where all are alike."""
    return {"label_selector": dict(labels_of(work))} if labels_of(work) else {}


def beside_driver() -> NodeAffinitySchedulingStrategy:
    """Where an actor goes that takes no CPU and must not be lost with some worker's node: the driver's own.

    Not soft: Ray puts one in three of those elsewhere, though there is room.
    """
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def bundles(*, gpus: int, cpus: float) -> list[dict[str, float]]:
    """One GPU a bundle, as vLLM's Ray executor wants it; the actor itself takes its CPUs from the first."""
    return [{"GPU": 1.0, "CPU": cpus}, *({"GPU": 1.0} for _ in range(gpus - 1))]


def in_group(wanted: list[dict[str, float]]) -> dict[str, Any]:
    """The remote options that put one actor, and what it starts, into a new group of bundles.

    PACK: on one node if there is room, on several if not. Called by Ray Data in the driver for every actor.
    """
    labels = [dict(labels_of("engines")) for _ in wanted] if labels_of("engines") else None
    group = placement_group(wanted, strategy="PACK", bundle_label_selector=labels)
    _made.append(group)
    return {
        "scheduling_strategy": PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
        )
    }


@contextlib.contextmanager
def groups_freed() -> Iterator[None]:
    """Give the groups made inside the block back at its end: Ray keeps them, and their GPUs, as long as the driver."""
    try:
        yield
    finally:
        while _made:
            remove_placement_group(_made.pop())
