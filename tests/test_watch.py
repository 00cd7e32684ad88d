"""What is recorded of training: every step once however often it restarts, and trackers that can't end it."""

import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from s3 import BUCKET, served

from cluster.packs import PackMeta
from cluster.training.events import Events
from cluster.training.plan import History, PhasePlan
from cluster.training.recorder import Figures, Recorder
from cluster.training.told import Begun, Exported, Held, Memory, Saved, Stepped, stepped
from cluster.training.trackers import check_installed
from pipeline.errors import Stop
from pipeline.store import Store
from pipeline.training.flops import Work
from pipeline.training.settings import TrainSettings

WORK = Work(token=10.0, label=100.0, pairs=((None, 2.0),))
LENGTHS = [[3, 2], [4], [1, 1, 1], [5]]


def plan_in(store: Store, identity: str = "one", **watch: object) -> PhasePlan:
    """A phase over four windows of at most 5 tokens, two of them a step."""
    tables = [
        pa.table({"ids": [[7] * sum(held)], "lengths": [held], "prompts": [[0] * len(held)], "examples": [["e"]]})
        for held in LENGTHS
    ]
    store.write_batches("packs/p/windows-0.arrow", tables)
    meta = PackMeta(
        made_of="x",
        window=5,
        pad_id=0,
        examples=7,
        left_out={},
        truncated=0,
        longest=5,
        files=("windows-0.arrow",),
        windows_in_files=(4,),
        num_tokens=(5, 4, 3, 5),
        num_labels=(2, 2, 1, 3),
    )
    store.write_json("packs/p/meta.json", meta.model_dump())
    phase = {"name": "p", "generations": ["x"], "epochs": 9}
    settings = TrainSettings(phases=[phase], batch_windows=2, window=5, device="cpu", workers=1, watch=watch)
    return PhasePlan(store, "m", identity, "packs/p", None, "checkpoints/c-p/export", settings, settings.phases[0], 1)


def history_of(steps: int) -> History:
    """The same steps every time: those with odd numbers have windows 2 and 3, and step 6 is skipped."""
    history = History(ranks={"0": 2})
    for number in range(steps):
        windows = [0, 1] if number % 2 == 0 else [2, 3]
        history.loss.append(9.0 - number)
        history.lr.append(0.1)
        history.grad_norm.append(1.0)
        history.seconds.append(0.5)
        history.waited.append(0.1)
        history.tokens.append(sum(sum(LENGTHS[window]) for window in windows))
        history.trained.append(4)
        history.windows.append(windows)
        if number == 5:
            history.skipped["5"] = "the loss is nan"
        if number in (2, 6):
            history.validation[str(number + 1)] = 5.0
    return history


def begun(steps: int, ranks: int = 2, peak: float | None = None) -> Begun:
    return Begun(history_of(steps), 18, ranks, WORK, peak, 1.0)


def live(step: int) -> Stepped:
    return stepped(history_of(step), step - 1, memory=Memory(1.0, 2.0), time=float(step))


def lines(store: Store) -> list[dict[str, object]]:
    return [json.loads(line) for line in store.read_text("events/train-p.jsonl").splitlines()]


def of(store: Store, event: str) -> list[object]:
    return [line["step"] for line in lines(store) if line["event"] == event]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The options of a URI that reach an S3."""
    with served() as options:
        yield options


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A folder, and an object store, in which nothing can be appended."""
    if request.param == "local":
        return Store(str(tmp_path / "run"))
    return Store(f"s3://{BUCKET}/{tmp_path.name}?{request.getfixturevalue('s3')}")


def test_a_phase_that_restarts_has_every_step_once(store: Store) -> None:
    plan = plan_in(store, tensorboard=False)
    first = Recorder(plan, run="r")
    first.take([begun(0), *map(live, range(1, 5)), Saved(4, 1.0), *map(live, range(5, 8))])
    # A rank is lost: from step 4 again, on three ranks, in the same driver.
    first.take([begun(4, ranks=3), live(9), *map(live, range(5, 10)), Saved(8, 1.0)])
    first.close()
    # The driver was killed before it wrote what came last; another goes on from step 12.
    second = Recorder(plan, run="r")
    second.take([begun(12, ranks=3), live(12), *map(live, range(13, 19))])
    second.close()
    assert of(store, "step") == [*range(1, 10), 10, 11, 12, *range(13, 19)]
    assert of(store, "start") == [0]
    assert of(store, "resume") == [4, 12]
    assert of(store, "checkpoint") == [4, 8]
    assert of(store, "validation") == [3, 7]
    assert of(store, "skip") == [6]
    assert of(store, "ranks") == [4]
    assert [line["loss"] for line in lines(store) if line["event"] == "step"] == [9.0 - n for n in range(18)]
    # A phase of the same name that is made of something else.
    third = Recorder(plan_in(store, "two", tensorboard=False), run="r")
    third.take([begun(0), live(1)])
    third.close()
    assert [line["event"] for line in lines(store)] == ["phase", "start", "step"]


def test_the_figures_of_a_step_are_those_counted_by_hand(tmp_path: Path) -> None:
    figures = Figures(plan_in(Store(str(tmp_path))), begun(0, peak=1e6))
    figures.memory[1] = Memory(3.0, 4.0, 5.0, 6.0)
    told = figures.of(live(1))
    # Windows 0 and 1: 9 tokens of 10 places, 4 trained; documents of 3, 2 and 4 tokens see 6 + 3 + 10 pairs.
    assert told["mfu"] == pytest.approx((9 * 10 + 4 * 100 + 19 * 2) / 0.5 / 1e6)
    assert told["padding_fraction"] == pytest.approx(0.1)
    assert told["tokens_per_s"] == pytest.approx(18)
    assert told["seconds_left"] == pytest.approx(17 * 0.5)
    assert (told["host_gib"], told["host_peak_gib"], told["gpu_gib"], told["gpu_peak_gib"]) == (3.0, 4.0, 5.0, 6.0)
    assert [figures.of(live(step))["epoch"] for step in range(2, 6)] == [0, 1, 1, 2]
    assert (figures.of(live(6))["skipped"], figures.of(live(7))["skipped"]) == (1, 1)
    without = Figures(plan_in(Store(str(tmp_path))), begun(0)).of(live(1))
    assert "mfu" not in without, "0 would be a figure"
    assert "gpu_gib" not in without


def test_a_model_that_is_exported_is_handed_on_and_one_that_is_not_is_noted(tmp_path: Path, capsys) -> None:
    store = Store(str(tmp_path))
    exported = []
    recorder = Recorder(plan_in(store, tensorboard=False), run="r", exported=exported.append)
    told = [begun(0), live(1), Exported(1, 0.5, None, 1.0), live(2), Exported(2, 0.1, "no space", 1.0)]
    recorder.take([Held(1, Memory(1, 1)), *told])
    recorder.add("evaluation", 1, {"benchmark": "b", "pass@1": 0.5, "ci95": [0.1, 0.9]})
    recorder.close()
    assert exported == [1]
    assert of(store, "evaluation") == [1]
    assert [line["why"] for line in lines(store) if line["event"] == "evaluation_failed"] == ["no space"]
    assert capsys.readouterr().err.count("warning") == 1


def test_a_store_that_takes_nothing_is_warned_of_once(tmp_path: Path, capsys) -> None:
    store = Store(str(tmp_path))
    recorder = Recorder(plan_in(store, tensorboard=False), run="r")
    (tmp_path / "events").write_text("a file where a folder must be")
    recorder.take([begun(0), live(1)])
    recorder.take([live(2)])
    recorder.close()
    assert capsys.readouterr().err.count("warning") == 1


def test_many_steps_are_written_seldom_and_fast(tmp_path: Path) -> None:
    events = Events(Store(str(tmp_path)), "events/train-p.jsonl", identity="one")
    figures = {f"figure_{n}": n / 7 for n in range(20)}
    started = time.process_time()
    written = 0
    for step in range(1, 20_001):
        events.add("step", step, figures)
        before = events._written
        events.write_when_due()
        written += events._written != before
    assert time.process_time() - started < 5
    assert written <= 3
    events.write()
    assert Events(Store(str(tmp_path)), "events/train-p.jsonl", identity="one").back_to(20_000) == []


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """What TensorBoard's files hold: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for file in sorted(folder.glob("events.out.*")):
        rest = file.read_bytes()
        while rest:
            (length,) = struct.unpack("<Q", rest[:8])
            event = Event.FromString(rest[12 : 12 + length])
            rest = rest[16 + length :]
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    return found


def test_tensorboard_has_every_step_beside_the_checkpoints(store: Store, tmp_path: Path) -> None:
    recorder = Recorder(plan_in(store), run="r")
    recorder.take([begun(0), *map(live, range(1, 6))])
    recorder.add("evaluation", 3, {"benchmark": "b", "pass@1": 0.5, "problems": 4})
    recorder.close()
    folder = tmp_path / "read"
    folder.mkdir()
    names = store.names("checkpoints/c-p/tensorboard")
    for name in names:
        store.copy_out(f"checkpoints/c-p/tensorboard/{name}", folder / name)
    found = scalars(folder)
    assert [found["train/loss", step] for step in range(1, 6)] == [9.0, 8.0, 7.0, 6.0, 5.0]
    assert found["train/validation_loss", 3] == 5.0
    assert found["pass_at_1/b", 3] == 0.5


FAKE = """
import json, pathlib
from types import SimpleNamespace
def init(**asked):
    def log(figures, step=None, commit=True):
        if step == 2:
            raise ConnectionError("no route to the service")
        with open({path!r}, "a") as lines:
            lines.write(json.dumps([step, figures["loss"]]) + "\\n")
    pathlib.Path({path!r}).write_text(json.dumps(asked) + "\\n")
    return SimpleNamespace(log=log, finish=lambda: None, define_metric=lambda name, step_metric: None)
"""


def test_a_tracker_that_fails_on_the_way_is_warned_of_once_and_gets_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    said = tmp_path / "said.jsonl"
    (tmp_path / "wandb.py").write_text(FAKE.format(path=str(said)))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    plan = plan_in(Store(str(tmp_path / "run")), tensorboard=False, wandb={"project": "ours"})
    recorder = Recorder(plan, run="r")
    recorder.take([begun(0), *map(live, range(1, 5))])
    recorder.close()
    asked, *told = map(json.loads, said.read_text().splitlines())
    assert (asked["project"], asked["id"], asked["resume"]) == ("ours", "r-p-one", "allow")
    assert asked["config"]["batch_windows"] == 2
    assert told == [[1, 9.0], [3, 7.0], [4, 6.0]]
    assert capsys.readouterr().err.count("no route to the service") == 1
    assert of(Store(str(tmp_path / "run")), "step") == [1, 2, 3, 4]


def test_a_tracker_that_is_not_installed_is_one_line_before_training(tmp_path: Path) -> None:
    settings = plan_in(Store(str(tmp_path)), mlflow={"uri": "x", "experiment": "e"}).settings.watch
    if "mlflow" not in sys.modules:
        with pytest.raises(Stop, match=r"train\.watch\.mlflow needs the package mlflow: pip install mlflow"):
            check_installed(settings)
    check_installed(settings.model_copy(update={"mlflow": None}))
