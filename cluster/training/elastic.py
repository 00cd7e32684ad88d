"""Ray's trainer, which does not count on nodes that are gone or going when it chooses how many ranks to start."""

from typing import Any

import ray
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.scaling_policy.elastic import ElasticScalingPolicy


class Trainer(TorchTrainer):
    """Ray's own, but for how the size of an elastic group is chosen."""

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        if self.scaling_config.elasticity_enabled:
            parts["scaling_policy"] = Present(self.scaling_config)
        return super()._initialize_and_run_controller(**parts)


class Present(ElasticScalingPolicy):
    """Ray 2.60 looks for lost nodes every 20 s and counts draining ones; a group with them waits in vain for 60 s."""

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        going = ray._private.state.state.get_draining_nodes()
        here = {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in going}
        held = {node: resources for node, resources in reserved_resources.items() if node in here}
        return int(super()._count_possible_workers(held))
