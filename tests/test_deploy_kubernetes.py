"""The KubeRay files of cluster/deploy, held against the operator's CRDs and against what it checks beyond them."""

import copy
import gzip
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

_ROOT = Path(__file__).resolve().parents[1]
_FILES = _ROOT / "cluster" / "deploy" / "kubernetes"
_CRDS = _ROOT.parent / "shared" / "data" / "kuberay"
_NAMES = ["cluster", "job"]
Broken = Callable[[Any], object]


def _read(name: str) -> Any:
    return yaml.safe_load((_FILES / f"{name}.yaml").read_text())


def _cluster(value: dict[str, Any]) -> dict[str, Any]:
    """The cluster of a RayCluster or of a RayJob."""
    cluster: dict[str, Any] = value["spec"]["rayClusterSpec"] if value["kind"] == "RayJob" else value["spec"]
    return cluster


def _broken(value: Any, change: Broken) -> Any:
    value = copy.deepcopy(value)
    change(value)
    return value


def _closed(schema: Any) -> Any:
    """The schema without room for unknown names, which a real API server drops without a word."""
    if isinstance(schema, list):
        return [_closed(it) for it in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _closed(value) for key, value in schema.items()}
    known = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if known and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def _crd(kind: str) -> dict[str, Any]:
    path = _CRDS / f"ray.io_{kind.lower()}s.yaml.gz"
    if not path.exists():
        pytest.skip(f"no {path.name}: put the project's shared data beside the checkout")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    crd = yaml.load(gzip.decompress(path.read_bytes()), loader)
    assert crd["spec"]["names"]["kind"] == kind
    (version,) = [it for it in crd["spec"]["versions"] if it["name"] == "v1"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


@pytest.fixture(scope="module")
def crds() -> dict[str, jsonschema.Draft7Validator]:
    """What checks the two kinds, by their schemas closed."""
    return {kind: jsonschema.Draft7Validator(_closed(_crd(kind))) for kind in ("RayCluster", "RayJob")}


@pytest.mark.data
@pytest.mark.parametrize("name", _NAMES)
def test_the_operators_schema_takes_the_file(name: str, crds: dict[str, jsonschema.Draft7Validator]) -> None:
    value = _read(name)
    assert value["apiVersion"] == "ray.io/v1"
    crds[value["kind"]].validate(value)


def _container(cluster: dict[str, Any]) -> Any:
    return cluster["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]


@pytest.mark.data
@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize(
    "change",
    [
        lambda cluster: cluster.update(enableInTreeAutoscalling=True),
        lambda cluster: cluster["authOptions"].update(mode="tokens"),
        lambda cluster: cluster["gcsFaultToleranceOptions"]["storage"].update(capacity="1Gi"),
        lambda cluster: cluster["autoscalerOptions"].update(version="v3"),
        lambda cluster: cluster["workerGroupSpecs"][0].update(idleTimeoutSecond=1),
        lambda cluster: cluster["workerGroupSpecs"][2].update(maxReplicas="4"),
        lambda cluster: cluster["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda cluster: cluster["headGroupSpec"]["template"]["spec"].update(afinity={}),
        lambda cluster: _container(cluster).update(port=[]),
        lambda cluster: _container(cluster)["resources"]["limits"].update(memory="48 GB"),
        lambda cluster: _container(cluster)["env"][0]["valueFrom"]["secretKeyRef"].pop("key"),
        lambda cluster: cluster.pop("headGroupSpec"),
    ],
)
def test_the_operators_schema_refuses_a_broken_file(
    name: str, change: Broken, crds: dict[str, jsonschema.Draft7Validator]
) -> None:
    value = _read(name)
    with pytest.raises(jsonschema.ValidationError):
        crds[value["kind"]].validate(_broken(value, lambda it: change(_cluster(it))))


@pytest.mark.data
def test_only_the_closed_schema_sees_a_misspelled_name(crds: dict[str, jsonschema.Draft7Validator]) -> None:
    job = _broken(_read("job"), lambda it: it["spec"].update(backOffLimit=3))
    jsonschema.validate(job, _crd("RayJob"))
    with pytest.raises(jsonschema.ValidationError):
        crds["RayJob"].validate(job)


def _refused(value: dict[str, Any]) -> list[str]:
    """What the operator (1.7) refuses though its schema takes it."""
    spec, cluster = value["spec"], _cluster(value)
    found = []
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        name, start = group.get("groupName", "head"), group["rayStartParams"]
        if "labels" in start:
            found.append(f"{name}: labels belong to the group")
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & start.keys():
            found.append(f"{name}: resources are said twice")
        if group["template"]["spec"].get("restartPolicy", "Never") != "Never":
            found.append(f"{name}: autoscaler v2 starts no container again")
    faults = cluster["gcsFaultToleranceOptions"]
    if faults.get("backend") == "rocksdb" and {"redisAddress", "redisPassword", "redisUsername"} & faults.keys():
        found.append("RocksDB has no Redis")
    if faults.get("backend") != "rocksdb" and "storage" in faults:
        found.append("only RocksDB has storage")
    if spec.get("shutdownAfterJobFinishes") and "deletionStrategy" in spec:
        found.append("the end of the cluster is said twice")
    if spec.get("ttlSecondsAfterFinished") and not spec.get("shutdownAfterJobFinishes"):
        found.append("what isn't shut down has no time to wait for it")
    if value["kind"] == "RayJob" and "upgradeStrategy" in cluster:
        found.append("a job's cluster is not upgraded")
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?", value["metadata"]["name"]):
        found.append("the name is no DNS label of 47 letters at most")
    return found


@pytest.mark.parametrize("name", _NAMES)
def test_the_operator_would_not_refuse_the_file(name: str) -> None:
    assert _refused(_read(name)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda job: _cluster(job)["workerGroupSpecs"][0]["rayStartParams"].update(labels="work=cpu"),
        lambda job: _cluster(job)["headGroupSpec"].update(resources={"CPU": "0"}),
        lambda job: _cluster(job)["workerGroupSpecs"][1]["template"]["spec"].update(restartPolicy="Always"),
        lambda job: _cluster(job)["gcsFaultToleranceOptions"].update(redisAddress="redis:6379"),
        lambda job: _cluster(job)["gcsFaultToleranceOptions"].update(backend="redis"),
        lambda job: job["spec"].update(deletionStrategy={}),
        lambda job: job["spec"].update(shutdownAfterJobFinishes=False),
        lambda job: _cluster(job).update(upgradeStrategy={"type": "None"}),
        lambda job: job["metadata"].update(name="Longthought"),
    ],
)
def test_the_operator_would_refuse_a_broken_file(change: Broken) -> None:
    assert len(_refused(_broken(_read("job"), change))) == 1


def test_the_jobs_cluster_is_the_cluster() -> None:
    assert _cluster(_read("job")) == _cluster(_read("cluster"))


@pytest.mark.parametrize("name", _NAMES)
def test_the_version_of_ray_is_the_pinned_one(name: str) -> None:
    (pinned,) = re.findall(r"^ray==(.+)$", (_ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert _cluster(_read(name))["rayVersion"] == pinned


@pytest.mark.parametrize("name", _NAMES)
def test_the_cluster_asks_for_a_token_and_autoscaler_v2(name: str) -> None:
    cluster = _cluster(_read(name))
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_every_pod_has_one_image_a_metrics_port_and_its_keys_from_the_secret() -> None:
    cluster = _cluster(_read("cluster"))
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    assert len({it["image"] for it in containers}) == 1
    assert all({"name": "metrics", "containerPort": 8080} in it["ports"] for it in containers)
    assert all(group["rayStartParams"]["metrics-export-port"] == "8080" for group in groups)
    for container in containers:
        asked = {it["name"]: it["valueFrom"]["secretKeyRef"] for it in container["env"]}
        assert "TEACHER_KEY" in asked
        assert all(it == {"name": "longthought-keys", "key": key, "optional": True} for key, it in asked.items())


def _may_lie_on(pod: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether the pod's node affinity lets it lie on a machine with these labels."""
    needed = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return any(
        all((labels.get(it["key"]) in it["values"]) == (it["operator"] == "In") for it in term["matchExpressions"])
        for term in needed
    )


def _tolerates(pod: dict[str, Any], key: str, value: str) -> bool:
    return any(it["key"] == key and it.get("value", value) == value for it in pod["tolerations"])


@pytest.mark.parametrize(
    ("spot", "taint"),
    [
        ({"cloud.google.com/gke-spot": "true"}, ("cloud.google.com/gke-spot", "true")),
        ({"eks.amazonaws.com/capacityType": "SPOT"}, ("spot", "true")),
        ({"karpenter.sh/capacity-type": "spot"}, ("karpenter.sh/capacity-type", "spot")),
        ({"kubernetes.azure.com/scalesetpriority": "spot"}, ("kubernetes.azure.com/scalesetpriority", "spot")),
    ],
)
def test_workers_lie_on_spot_machines_and_the_head_on_others(spot: dict[str, str], taint: tuple[str, str]) -> None:
    cluster = _cluster(_read("cluster"))
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert _may_lie_on(head, {})
    assert not _may_lie_on(head, spot)
    for group in cluster["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        assert _may_lie_on(pod, spot)
        assert not _may_lie_on(pod, {})
        assert _tolerates(pod, *taint)
        # Only who asks for GPUs may lie where they are.
        asks = "nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]
        assert _tolerates(pod, "nvidia.com/gpu", "present") == asks


def test_the_job_asks_for_the_labels_that_the_groups_have() -> None:
    job = _read("job")
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:3] == ["python", "-m", "jobs.run"]
    assert (_ROOT / words[3]).is_file()
    given = dict(word.split("=", 1) for word in words[4:])
    groups = {it["groupName"]: it["labels"] for it in _cluster(job)["workerGroupSpecs"]}
    asked = {key.split(".")[2]: {key.split(".")[3]: value} for key, value in given.items() if "cluster.nodes." in key}
    assert asked.keys() == groups.keys()
    assert all(asked[name].items() <= groups[name].items() for name in groups)
    assert given["storage"].startswith("s3://")
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["working_dir"].startswith("s3://")


def test_a_failed_job_is_tried_again_and_leaves_no_cluster() -> None:
    spec = _read("job")["spec"]
    assert spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"] is True
