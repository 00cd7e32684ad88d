"""Ray's trainer, with a size of the group that goes by the nodes that can be reached and costs few steps to change."""

import contextlib
import socket
import time
from collections import Counter
from typing import Any

import ray
import ray.exceptions
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.scaling_policy import NoopDecision
from ray.train.v2._internal.execution.scaling_policy.elastic import ElasticScalingPolicy
from ray.util import placement_group_table

_ANSWER_S = 5.0
_REACH_S = 2.0
_PATIENCE_S = 30.0


class Trainer(TorchTrainer):
    """Ray's own, but for how the size of an elastic group is chosen, and for Ctrl-C."""

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        if self.scaling_config.elasticity_enabled:
            parts["scaling_policy"] = Reachable(self.scaling_config)
        return super()._initialize_and_run_controller(**parts)

    def _register_sigint_handler(self, controller: Any) -> None:
        # Ray's own stays after the training, takes two interrupts for nothing and exits with 0 at the third (2.60).
        # Without it an interrupt ends the command as at any other time, and its controller and ranks with it.
        pass


class Reachable(ElasticScalingPolicy):
    """Counts on what is free on the nodes that are there now, and resizes a running group right after a checkpoint.

    Ray 2.60's own looks for nodes every 20 s, learns of a lost one seconds after its ranks do, counts draining ones and
    what other work holds: a group that is started on such a count waits for 60 s in vain, again and again. And it
    resizes at any time. Here what was done since the checkpoint went on its way is done again.
    """

    def __init__(self, scaling_config: Any) -> None:
        super().__init__(scaling_config)
        self._wanted: Any = None
        self._steps: dict[int, int] = {}
        self._is_last = False
        self._group: Any = None
        self._short_since: float | None = None

    def make_decision_for_running_worker_group(self, worker_group_state: Any, worker_group_status: Any) -> Any:
        """Ray's decision, held back until every rank has reported one checkpoint; none when no steps are left."""
        self._group, self._short_since = worker_group_state.placement_group_handle.placement_group, None
        statuses = worker_group_status.worker_statuses
        reports = {rank: each.training_report for rank, each in statuses.items() if each.training_report is not None}
        self._steps |= {rank: report.metrics["step"] for rank, report in reports.items()}
        self._is_last |= any(report.metrics["is_last"] for report in reports.values())
        # Asked in any case: it also keeps up what is reserved.
        decision = super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
        if not isinstance(decision, NoopDecision):
            self._wanted = decision
        is_kept = bool(reports) and len(self._steps) == len(statuses) and len(set(self._steps.values())) == 1
        if self._wanted is None or not is_kept or self._is_last:
            return NoopDecision()
        wanted, self._wanted = self._wanted, None
        # A node that came may be gone again.
        now = self._count_possible_workers(self._latest_reserved_resources or {})
        return wanted if wanted.num_workers == now != worker_group_state.num_workers else NoopDecision()

    def make_decision_for_non_running_worker_group(self) -> Any:
        """Ray's decision, on the nodes as they are now."""
        self._wanted, self._steps, self._is_last = None, {}, False
        # It asks at most once a second, and for what was seen up to 20 s ago.
        with contextlib.suppress(ray.exceptions.RayError):
            coordinator = self._autoscaling_coordinator
            ray.get(coordinator.get_reserved_resources.remote(self._requester_id, recompute=True), timeout=_ANSWER_S)
        return super().make_decision_for_non_running_worker_group()

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        state = ray._private.state
        going = state.state.get_draining_nodes()
        here = {
            node["NodeID"]
            for node in ray.nodes()
            if node["Alive"] and self._may(node) and node["NodeID"] not in going and reached(node)
        }
        free = state.available_resources_per_node()
        mine = self._mine()
        ours = {node: self._with_mine(free.get(node, {}), mine[node]) for node in here}
        found = int(super()._count_possible_workers(ours))
        if found >= self.scaling_config.min_workers:
            self._short_since = None
            return found
        # A group that failed before it was seen still holds what it had; what is reserved counts that too.
        self._short_since = self._short_since or time.monotonic()
        if time.monotonic() - self._short_since < _PATIENCE_S:
            return found
        return int(super()._count_possible_workers({node: reserved_resources.get(node, {}) for node in here}))

    def _may(self, node: dict[str, Any]) -> bool:
        """Whether ranks may go there by its labels; Ray counts all nodes."""
        return (self.scaling_config.label_selector or {}).items() <= node["Labels"].items()

    def _mine(self) -> Counter[str]:
        """How many ranks of the last group each node holds; a group that failed holds them until the next starts."""
        if self._group is None:
            return Counter()
        table = placement_group_table(self._group)
        return Counter() if table.get("state") == "REMOVED" else Counter(table.get("bundles_to_node_id", {}).values())

    def _with_mine(self, free: Any, ranks: int) -> dict[str, float]:
        needs = self.scaling_config._resources_per_worker_not_none
        return {**free, **{name: free.get(name, 0.0) + ranks * amount for name, amount in needs.items()}}


def reached(node: dict[str, Any]) -> bool:
    """Whether a node's raylet can be connected to; Ray itself takes some seconds to find out."""
    try:
        with socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), timeout=_REACH_S):
            return True
    except OSError:
        return False
