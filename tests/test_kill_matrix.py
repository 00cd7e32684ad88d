"""Kills of training of every kind, at six drawn moments, gone on from on 1, 2 and 3 ranks; with every option, too.

`make kills`, which takes two hours.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import psutil
import pytest
from tiny import summary
from training_cluster import Nodes, Training, below, is_rank, nodes, raylet, training_recipe
from unbroken import equals_the_unbroken, every_step_is_told_once

from cluster.training.kept import Kept
from pipeline.store import Store

pytestmark = pytest.mark.ray
STEPS = 60
"""Of the training of 60 rows."""
OPTIONS = {
    "shared windows": (2, ("sequence_parallel=2",), 1e-4),
    "offload all": (1, ("offload=all",), 1e-4),
    "offload optimizer": (2, ("offload=optimizer",), 1e-4),
    "recomputed": (1, ("gradient_checkpointing=true",), 1e-4),
    "low rank": (1, ("lora={rank: 4}",), 1e-4),
    # Sums of other ranks are rounded otherwise.
    "bfloat16": (1, ("dtype=bfloat16",), 2e-2),
    "bfloat16 offload": (2, ("dtype=bfloat16", "offload=all"), 2e-2),
}
"""Name -> ranks to go on with, what is set, and how far losses may be apart."""
MOMENTS = ("early", "late", "writing", "uploading", "any", "last")


@pytest.fixture(scope="module", autouse=True)
def asked(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--matrix"):
        pytest.skip("only with --matrix")


@pytest.fixture(scope="module")
def cluster(asked: None) -> Iterator[Nodes]:
    with nodes(2) as made:
        yield made


@pytest.fixture(scope="module")
def path(asked: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_recipe(tmp_path_factory.mktemp("recipe"), rows=60)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", ["rank", "node", "command"])
def test_a_kill(
    kind: str, moment: str, ranks: int, cluster: Nodes, path: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    drawn = Random(f"{pytestconfig.getoption('--seed')}:{kind}:{moment}:{ranks}")
    two(cluster)
    training = Training(
        path, tmp_path / "runs", address=cluster.address, overrides=("train.workers=2", "train.max_failures=0")
    )
    wait_for(moment, training, drawn)
    reached = training.noted()
    hit(kind, training, cluster)
    if kind != "command":
        code, out, err = training.ended()
        if moment == "last" and code == 0:
            equals_the_unbroken(path, tmp_path, summary(tmp_path, "train")["phases"][0], to=path.parent / "unbroken")
            pytest.skip("the model was out before the kill was felt: nothing is shown")
        assert code == 1, out + err
        assert "training phase only failed: rank" in err.strip().splitlines()[-1]
        assert err.count("training phase only failed") == 1
    while len(cluster.nodes) > ranks:
        cluster.kill()
    while len(cluster.nodes) < ranks:
        cluster.add()
    again = Training(path, tmp_path / "runs", address=cluster.address, overrides=(f"train.workers={ranks}",))
    code, out, err = again.ended()
    assert code == 0, out + err[-3000:]
    phase = summary(tmp_path, "train")["phases"][0]
    assert phase["resumed_at"][0] >= reached
    assert phase["ranks"] == {"0": 2, str(phase["resumed_at"][0]): ranks}
    equals_the_unbroken(path, tmp_path, phase, to=path.parent / "unbroken")


@pytest.mark.parametrize("option", OPTIONS)
def test_a_kill_with(
    option: str, cluster: Nodes, path: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ranks, changes, rel = OPTIONS[option]
    two(cluster)
    given = tuple(f"train.{change}" for change in changes)
    training = Training(path, tmp_path / "runs", address=cluster.address, overrides=("train.workers=2", *given))
    training.further(4)
    training.kill()
    again = Training(path, tmp_path / "runs", address=cluster.address, overrides=(f"train.workers={ranks}", *given))
    code, out, err = again.ended()
    assert code == 0, out + err[-3000:]
    phase = summary(tmp_path, "train")["phases"][0]
    assert set(phase["ranks"].values()) == {2, ranks}
    # One rank can't share windows, and keeps all it has.
    alone = [change for change in given if not change.startswith(("train.sequence_parallel", "train.offload"))]
    to = path.parent / ("unbroken" if not alone else f"unbroken-{option}")
    equals_the_unbroken(path, tmp_path, phase, to=to, overrides=alone, rel=rel)


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays_good(cluster: Nodes, path: Path, tmp_path: Path) -> None:
    """Files of the ranks may not be longer than 1 MB from some step on: the system's own refusal, as a full disk's."""
    two(cluster)
    training = Training(path, tmp_path / "runs", address=cluster.address, overrides=("train.workers=2",))
    training.further(6)
    for rank in cluster.workers():
        rank.rlimit(psutil.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    code, out, err = training.ended()
    print(err[-600:])
    assert code == 1, out + err
    assert "can't write a checkpoint to" in err.strip().splitlines()[-1]
    assert err.count("can't write a checkpoint to") == 1
    kept = Kept(Store(str(training.run)), f"checkpoints/{training.phase.name}")
    assert list(kept.noted())[-1] in kept.whole()
    again = Training(path, tmp_path / "runs", address=cluster.address, overrides=("train.workers=2",))
    code, out, err = again.ended()
    assert code == 0, out + err[-3000:]
    equals_the_unbroken(path, tmp_path, summary(tmp_path, "train")["phases"][0], to=path.parent / "unbroken")


def test_a_node_without_a_rank_is_missed_by_nobody(cluster: Nodes, path: Path, tmp_path: Path) -> None:
    two(cluster)
    cluster.add()
    training = Training(path, tmp_path / "runs", address=cluster.address, overrides=("train.workers=2",))
    training.further(6)
    idle = [node for node in cluster.nodes if not any(map(is_rank, below(raylet(node))))]
    assert len(idle) == 1
    cluster.nodes.sort(key=lambda node: node is idle[0])
    cluster.kill()
    code, out, err = training.ended()
    assert code == 0, out + err[-3000:]
    phase = summary(tmp_path, "train")["phases"][0]
    assert (phase["resumed_at"], phase["ranks"]) == ([], {"0": 2})
    every_step_is_told_once(tmp_path, phase)
    equals_the_unbroken(path, tmp_path, phase, to=path.parent / "unbroken")


def two(cluster: Nodes) -> None:
    """Two nodes, so that each has a rank."""
    while len(cluster.nodes) > 2:
        cluster.kill()
    while len(cluster.nodes) < 2:
        cluster.add()


def wait_for(moment: str, training: Training, drawn: Random) -> None:
    """Wait until the training is at such a moment."""
    if moment == "last":
        # No step is left: its model is on its way out.
        training.wait(lambda: training.noted() == STEPS)
        return
    steps = {"early": (3, 6), "late": (15, 20)}.get(moment, (3, 15))
    training.further(drawn.randint(*steps))
    before = {each.name for each in training.phase.iterdir()}
    scratch = Path(f"/tmp/longthought-{os.getuid()}/checkpoints")
    places: dict[str, Callable[[], bool]] = {
        "writing": lambda: any(scratch.glob("*/step-*")),
        "uploading": lambda: bool({each.name for each in training.phase.iterdir()} - before),
    }
    if moment in places:
        training.wait(places[moment])
    else:
        time.sleep(drawn.uniform(0, 1))


def hit(kind: str, training: Training, cluster: Nodes) -> None:
    """SIGKILL it."""
    if kind == "command":
        training.kill()
    elif kind == "node":
        cluster.kill()
    else:
        os.kill(cluster.workers()[-1].pid, signal.SIGKILL)
