"""Wait until a cluster has room for something beside what already runs, without taking it from that."""

import time
from collections.abc import Callable, Sequence

import ray
from ray.util.placement_group import placement_group, remove_placement_group

_LOOK_S = 2.0
_SETTLED_S = 5.0


def wait_for_room(wanted: Sequence[dict[str, float]], *, until: Callable[[], bool], full: Callable[[], None]) -> None:
    """Return once the cluster has had room for these bundles for a while, or `until` says that nothing is to wait for.

    The wish is a placement group that stays pending, so an autoscaler adds nodes for it. It is given back at once, and
    looked for again seconds later: what was free only because a group of ranks starts anew is left to that group.
    `full` is called once if there is no room at first.
    """
    said = False
    while not until():
        if _placed(wanted, until) and _settled(wanted):
            return
        if not said:
            full()
            said = True


def _placed(wanted: Sequence[dict[str, float]], until: Callable[[], bool]) -> bool:
    group = placement_group(list(wanted), strategy="PACK")
    try:
        return bool(group.wait(timeout_seconds=_LOOK_S))
    finally:
        remove_placement_group(group)


def _settled(wanted: Sequence[dict[str, float]]) -> bool:
    time.sleep(_SETTLED_S)
    free = ray.available_resources()
    names = {name for bundle in wanted for name in bundle}
    return all(free.get(name, 0.0) >= sum(bundle.get(name, 0.0) for bundle in wanted) for name in names)
