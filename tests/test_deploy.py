"""The files of cluster/deploy, held against what reads them: Ray's schema, launcher and autoscaler, and EC2's API.

The cloud is moto's; Google's API has no such stand-in here, so what gcp.yaml says of its machines is only read.
"""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
import yaml
from botocore.exceptions import ParamValidationError
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.sdk import get_docker_host_mount_location

_ROOT = Path(__file__).parents[1]
_DEPLOY = _ROOT / "cluster" / "deploy"
_UP = ["aws.yaml", "gcp.yaml"]
_WORK = ["cpu", "engines", "training"]
_CHANGED = {
    "aws.yaml": ["region", "image"],
    "gcp.yaml": ["project_id", "image"],
    "kubernetes/cluster.yaml": ["image"],
    "kubernetes/job.yaml": ["working_dir", "entrypoint", "image"],
    "kubernetes/queue.yaml": [],
}
Broken = Callable[[Any], object]


def _read(name: str) -> Any:
    return yaml.safe_load((_DEPLOY / name).read_text())


def _broken(value: Any, change: Broken) -> Any:
    value = copy.deepcopy(value)
    change(value)
    return value


def _pin(package: str) -> str:
    (version,) = re.findall(rf"^{package}==(.+)$", (_ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return str(version)


def _ray_takes(config: dict[str, Any]) -> dict[str, Any]:
    """The config as `ray up` sees it."""
    prepared: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.mark.parametrize("name", _UP)
def test_ray_up_takes_the_file(name: str) -> None:
    prepared = _ray_takes(_read(name))
    groups = prepared["available_node_types"]
    assert [groups[group]["min_workers"] for group in _WORK] == [0, 0, 0]
    assert groups["head"]["max_workers"] == 0
    assert sum(groups[group]["max_workers"] for group in _WORK) == prepared["max_workers"]
    # Nothing of Ray's defaults, which install a Ray of their own.
    assert prepared["head_setup_commands"] == prepared["worker_setup_commands"] == []


@pytest.mark.parametrize("name", _UP)
@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(idle_timeout_minute=5),
        lambda config: config["available_node_types"]["cpu"].update(idle_timeout=120),
        lambda config: config["available_node_types"]["cpu"].update(labels={"work": 1}),
        lambda config: config["available_node_types"]["head"].update(resources={"CPU": "0"}),
        lambda config: config["docker"].update(options=[]),
        lambda config: config.update(max_workers="70"),
    ],
)
def test_ray_up_refuses_a_broken_file(name: str, change: Broken) -> None:
    with pytest.raises(jsonschema.ValidationError):
        _ray_takes(_broken(_read(name), change))


def _launched(config: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """One machine of each type, as EC2 tells of it, and the resources that Ray's autoscaler counts on."""
    for name, value in {"HOME": str(home), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(name, value)
    region = config["provider"]["region"]
    found = {}
    with mock_aws():
        boto3.client("iam", region).create_instance_profile(InstanceProfileName="longthought")
        config = bootstrap_aws(AWSNodeProvider.fillout_available_node_types_resources(_ray_takes(config)))
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        for name, node_type in config["available_node_types"].items():
            (made,) = provider.create_node({**node_type["node_config"]}, {"ray-launch-config": name}, 1)
            (told,) = boto3.client("ec2", region).describe_instances(InstanceIds=[made])["Reservations"]
            found[name] = {**told["Instances"][0], "resources": node_type["resources"]}
    return found


def test_ray_launches_an_on_demand_head_and_spot_workers_on_ec2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _read("aws.yaml")
    # Moto calls a machine spot whatever market it is bought on.
    markets = [config["available_node_types"][name]["node_config"]["InstanceMarketOptions"] for name in _WORK]
    assert markets == [{"MarketType": "spot"}] * 3
    found = _launched(config, tmp_path, monkeypatch)
    assert {name: told.get("InstanceLifecycle") for name, told in found.items()} == {
        "head": None,
        **dict.fromkeys(_WORK, "spot"),
    }
    assert {told["IamInstanceProfile"]["Arn"].rsplit("/", 1)[1] for told in found.values()} == {"longthought"}
    assert found["head"]["resources"]["CPU"] == 0
    assert [found[name]["resources"].get("GPU", 0) for name in _WORK] == [0, 1, 8]
    assert all(found[name]["resources"]["memory"] > 2**35 for name in _WORK)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda head: head.update(InstanceTypes=["m7i.2xlarge"]), "InstanceTypes"),
        (lambda head: head.update(InstanceMarketOptions={"MarketTypes": "spot"}), "MarketTypes"),
    ],
)
def test_ec2_refuses_a_misspelled_machine(
    change: Broken, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _broken(_read("aws.yaml"), lambda it: change(it["available_node_types"]["head"]["node_config"]))
    with pytest.raises(ParamValidationError, match=f'"{named}"'):
        _launched(config, tmp_path, monkeypatch)


def test_on_google_the_workers_are_spot_and_the_head_is_not() -> None:
    groups = _read("gcp.yaml")["available_node_types"]
    models = {
        name: group["node_config"].get("scheduling", {}).get("provisioningModel") for name, group in groups.items()
    }
    assert models == {"head": None, **dict.fromkeys(_WORK, "SPOT")}
    assert groups["head"]["resources"] == {"CPU": 0}
    assert [groups[name]["resources"].get("GPU", 0) for name in _WORK] == [0, 1, 8]


def _wrong_paths(config: dict[str, Any]) -> set[str]:
    """The machine's paths that commands and docker name, less those where Ray puts what is mounted."""
    mounts = get_docker_host_mount_location(config["cluster_name"])
    there = {f"{mounts}{path}" for path in config["file_mounts"]}
    named = re.findall(r"/tmp/\S+", " ".join(config["initialization_commands"] + config["docker"]["run_options"]))
    assert named
    return set(named) - there


@pytest.mark.parametrize("name", _UP)
def test_token_and_keys_reach_every_node(name: str) -> None:
    config = _read(name)
    assert config["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    # Without the second the machine's GPUs are not seen inside.
    assert {"--env=RAY_AUTH_MODE=token", "--env=NVIDIA_VISIBLE_DEVICES=all"} <= set(config["docker"]["run_options"])
    assert not _wrong_paths(config)
    assert _wrong_paths({**config, "cluster_name": "mine"})


@pytest.mark.parametrize("name", _UP)
def test_ray_is_started_with_metrics_and_a_dashboard_for_tunnels_only(name: str) -> None:
    config = _read(name)
    (head,) = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    (worker,) = [line for line in config["worker_start_ray_commands"] if "ray start" in line]
    assert {"--head", "--dashboard-host=127.0.0.1", "--metrics-export-port=8080"} <= set(head.split())
    assert {"--address=$RAY_HEAD_IP:6379", "--metrics-export-port=8080"} <= set(worker.split())


def _groups(name: str) -> dict[str, dict[str, Any]]:
    """What Ray's autoscaler makes of the file: its types of nodes, the head among them."""
    value = _read(name)
    if name in _UP:
        prepared = _ray_takes(value)
        return {
            "head" if it == prepared["head_node_type"] else it: group
            for it, group in prepared["available_node_types"].items()
        }
    cluster = value["spec"]["rayClusterSpec"] if value["kind"] == "RayJob" else value["spec"]
    derived = _derive_autoscaling_config_from_ray_cr({"metadata": {"name": "x", "namespace": "x"}, "spec": cluster})
    return {
        "head" if it == derived["head_node_type"] else it: group
        for it, group in derived["available_node_types"].items()
    }


@pytest.mark.parametrize("name", [*_UP, "kubernetes/cluster.yaml", "kubernetes/job.yaml"])
def test_every_group_has_its_label_and_comes_from_0(name: str) -> None:
    groups = _groups(name)
    assert {group: it["labels"].get("work") for group, it in groups.items()} == {
        "head": None,
        **{work: work for work in _WORK},
    }
    assert {group: it["labels"]["ray.io/market-type"] for group, it in groups.items()} == {
        "head": "on-demand",
        **dict.fromkeys(_WORK, "spot"),
    }
    assert groups["head"]["resources"]["CPU"] == 0
    assert [groups[work]["min_workers"] for work in _WORK] == [0, 0, 0]
    assert all(groups[work]["max_workers"] > 0 and groups[work]["idle_timeout_s"] > 0 for work in _WORK)
    if name != "aws.yaml":
        # On AWS the launcher asks EC2 what a machine has, which a test above reads.
        assert all(groups[work]["resources"]["memory"] > 2**35 for work in _WORK)


@pytest.mark.parametrize(("name", "changed"), _CHANGED.items())
def test_what_a_user_changes_is_marked(name: str, changed: list[str]) -> None:
    marked = [line for line in (_DEPLOY / name).read_text().splitlines() if "# CHANGE:" in line]
    assert [line.split(":")[0].strip() for line in marked] == changed


def test_the_image_has_the_pinned_stack_and_what_the_launchers_call() -> None:
    text = (_DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert [rest for word, rest in steps if word == "FROM"] == ["python:3.11-slim-bookworm"]
    sources = [source for word, rest in steps if word == "COPY" for source in rest.split()[:-1]]
    kept = (_DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert sources
    assert all((_ROOT / source).is_file() and f"!{source}" in kept for source in sources)
    # Versions are read, never said again.
    assert not re.search(r"==\d", text)
    assert len(re.findall(r"uv==[0-9.]*", (_ROOT / "Makefile").read_text())) == 1
    assert {"wget", "procps", "rsync", "openssh-client", "sudo"} <= set(text.split())
    assert [rest for word, rest in steps if word == "USER"] == ["ray"]
    assert "HOME=/home/ray" in text
    pinned = re.findall(r"/\^([a-z-]+)==/d", text)
    assert [_pin(package) for package in pinned]


def test_the_queue_has_room_for_all_that_the_groups_can_ask() -> None:
    flavor, cluster_queue, queue = yaml.safe_load_all((_DEPLOY / "kubernetes" / "queue.yaml").read_text())
    asking = [_read(f"kubernetes/{name}.yaml")["metadata"] for name in ("cluster", "job")]
    assert {it["labels"]["kueue.x-k8s.io/queue-name"] for it in asking} == {queue["metadata"]["name"]}
    assert queue["spec"]["clusterQueue"] == cluster_queue["metadata"]["name"]
    (given,) = cluster_queue["spec"]["resourceGroups"][0]["flavors"]
    assert given["name"] == flavor["metadata"]["name"]
    quota = {it["name"]: float(it["nominalQuota"].removesuffix("Gi")) for it in given["resources"]}
    asked = dict.fromkeys(quota, 0.0)
    spec = _read("kubernetes/cluster.yaml")["spec"]
    for group in spec["workerGroupSpecs"]:
        requests = group["template"]["spec"]["containers"][0]["resources"]["requests"]
        for name, value in requests.items():
            asked[name] += group["maxReplicas"] * float(value.removesuffix("Gi"))
    # The head and its autoscaler, and the pod that submits, are small beside the groups.
    assert all(asked[name] <= quota[name] <= 1.1 * asked[name] for name in quota)
