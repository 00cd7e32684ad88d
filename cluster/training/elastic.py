"""Ray's trainer, with a size of the group that goes by the nodes that can be reached and costs no step to change."""

import contextlib
import socket
from typing import Any

import ray
import ray.exceptions
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.scaling_policy import NoopDecision
from ray.train.v2._internal.execution.scaling_policy.elastic import ElasticScalingPolicy

_ANSWER_S = 5.0
_REACH_S = 2.0


class Trainer(TorchTrainer):
    """Ray's own, but for how the size of an elastic group is chosen."""

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        if self.scaling_config.elasticity_enabled:
            parts["scaling_policy"] = Reachable(self.scaling_config)
        return super()._initialize_and_run_controller(**parts)


class Reachable(ElasticScalingPolicy):
    """Counts on the nodes that are there now, and resizes a running group right after a checkpoint.

    Ray 2.60's own looks for nodes every 20 s, learns of a lost one seconds after its ranks do, and counts draining
    ones: a group that is started on such nodes waits for 60 s in vain. And it resizes at any time.
    """

    def __init__(self, scaling_config: Any) -> None:
        super().__init__(scaling_config)
        self._wanted: Any = None
        self._reported: set[int] = set()
        self._is_last = False

    def make_decision_for_running_worker_group(self, worker_group_state: Any, worker_group_status: Any) -> Any:
        """Ray's decision, held back until every rank has reported a checkpoint; none when there are no steps left."""
        statuses = worker_group_status.worker_statuses
        reports = {rank: each.training_report for rank, each in statuses.items() if each.training_report is not None}
        self._is_last |= any(report.metrics["is_last"] for report in reports.values())
        if self._is_last:
            return NoopDecision()
        decision = super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
        if not isinstance(decision, NoopDecision):
            self._wanted, self._reported = decision, set()
        if self._wanted is None:
            return decision
        self._reported |= reports.keys()
        if len(self._reported) < len(statuses):
            return NoopDecision()
        wanted, self._wanted = self._wanted, None
        return wanted

    def make_decision_for_non_running_worker_group(self) -> Any:
        """Ray's decision, on the nodes as they are now."""
        self._wanted, self._is_last = None, False
        # It asks at most once a second, and for what was seen up to 20 s ago.
        with contextlib.suppress(ray.exceptions.RayError):
            coordinator = self._autoscaling_coordinator
            ray.get(coordinator.get_reserved_resources.remote(self._requester_id, recompute=True), timeout=_ANSWER_S)
        return super().make_decision_for_non_running_worker_group()

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        state = ray._private.state
        going = state.state.get_draining_nodes()
        here = {
            node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in going and reached(node)
        }
        # What is reserved for a command that was killed stays so for three minutes; what is free shows.
        return max(
            int(super(Reachable, self)._count_possible_workers({node: held[node] for node in held.keys() & here}))
            for held in (reserved_resources, state.available_resources_per_node())
        )


def reached(node: dict[str, Any]) -> bool:
    """Whether a node's raylet can be connected to; Ray itself takes some seconds to find out."""
    try:
        with socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), timeout=_REACH_S):
            return True
    except OSError:
        return False
