"""Whether every node can read and write a run's folder: asked before anything is bought."""

import platform
import uuid
from collections.abc import Iterator

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.errors import Stop
from pipeline.store import Store

_FOLDER = ".reach"
_WITHIN_S = 120.0


def check_reach(store: Store) -> None:
    """Raise Stop, in one line that names the nodes, unless each of them reads and writes the run's folder.

    Nodes that an autoscaler brings later are not asked: they come from the same image.
    """
    mark, said = f"{_FOLDER}/{uuid.uuid4().hex}", uuid.uuid4().hex
    store.write_json(f"{mark}/driver.json", said)
    try:
        wrong = list(_wrong(store, mark, said))
    finally:
        store.delete_folder(_FOLDER)
    if wrong:
        raise Stop(
            f"not every node can use {store.root}: {'; '.join(wrong)}; give a folder that is mounted on all of them, "
            "or s3:// or gs:// with the keys set on all"
        )


def _wrong(store: Store, mark: str, said: str) -> Iterator[str]:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    task = ray.remote(num_cpus=0, max_retries=0)(_tried)
    here = ray.get_runtime_context().get_node_id()
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            store, mark, said, node["NodeID"]
        ): node
        for node in nodes
        if node["NodeID"] != here
    }
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=_WITHIN_S) if asked else ([], [])
    for answer in late:
        yield f"{_name(asked[answer])} gave no answer in {_WITHIN_S:g} s"
    for answer in done:
        node = asked[answer]
        try:
            why = ray.get(answer)
        except ray.exceptions.RayError as error:
            # A node that went meanwhile is nobody's fault; work that was on it is done elsewhere.
            if _lives(node):
                yield f"{_name(node)}: {str(error).strip().splitlines()[-1][:200]}"
            continue
        if why is None and not store.exists(f"{mark}/{node['NodeID']}.json"):
            why = "what it writes is not seen by the driver"
        if why is not None:
            yield f"{_name(node)}: {why}"


def _tried(store: Store, mark: str, said: str, node: str) -> str | None:
    """Why this node can't use the store as the driver does; None when it can."""
    try:
        store.write_json(f"{mark}/{node}.json", platform.node())
        if store.read_json(f"{mark}/driver.json") != said:
            return "it reads another file than the driver wrote"
    except FileNotFoundError:
        return "it does not see what the driver wrote"
    except (Stop, OSError, ValueError) as error:
        return str(error).splitlines()[0][:200]
    return None


def _lives(node: dict[str, str]) -> bool:
    return any(each["NodeID"] == node["NodeID"] and each["Alive"] for each in ray.nodes())


def _name(node: dict[str, str]) -> str:
    return f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
