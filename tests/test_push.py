"""Pushing to the Hub: what lies there afterwards, over a real socket, and what is refused before anything is sent."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fake_hub import TOKEN, FakeHub
from made_dataset import made_run
from tiny import ROOT

from jobs import push
from pipeline.model_card import write_card as write_model_card
from pipeline.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_run(tmp_path_factory.mktemp("run"))


def start(hub: FakeHub, home: Path, *arguments: object, token: str | None = TOKEN) -> "subprocess.Popen[str]":
    """The job in a process of its own: the library reads its address and its token when it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_TOKEN": token} if token else {}
    command = [sys.executable, "-m", "jobs.push", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_repository_holds_the_files_and_a_card_with_its_name(store: Store, tmp_path: Path) -> None:
    before = {"train-00007.parquet": b"of an earlier push", "notes.md": b"somebody's own"}
    with FakeHub(files=before) as hub:
        process = start(hub, tmp_path, store.root, "me/made")
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"pushed: {hub.url}/datasets/me/made" in out
    assert hub.files is not None
    folder = Path(store.root) / "dataset"
    ours = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"step.json"}
    assert hub.files.keys() == ours | {"notes.md"}
    assert {"plots/lengths.png", "preference/pairs-00000.parquet", "validation-00000.parquet"} < ours
    for name in ours - {"README.md"}:
        assert hub.files[name] == (folder / name).read_bytes()
    card = hub.files["README.md"].decode()
    assert 'load_dataset("me/made")' in card
    assert "OWNER/" not in card


def test_a_new_repository_is_private_and_what_the_hub_refuses_is_one_line(store: Store, tmp_path: Path) -> None:
    new = FakeHub(files=None, private=False)
    refusals = [
        (FakeHub(), None, "no token for the Hub"),
        (FakeHub(), "hf_other", "does not know the token"),
        (FakeHub(files=None, may_write=False), TOKEN, "may not write to me/made"),
        (FakeHub(files={}, private=False), TOKEN, "me/made is there and public"),
    ]
    with contextlib.ExitStack() as stack:
        for hub in (new, *(hub for hub, *_ in refusals)):
            stack.enter_context(hub)
        made = start(new, tmp_path, store.root, "me/made")
        # All at once: each takes a second to import the library.
        processes = [start(hub, tmp_path, store.root, "me/made", token=token) for hub, token, _ in refusals]
        processes.append(start(FakeHub(url="http://127.0.0.1:9"), tmp_path, store.root, "me/made"))
        assert made.wait(timeout=120) == 0
        said = [process.communicate(timeout=120)[1] for process in processes]
    assert new.private
    assert new.files
    for err, expected in zip(
        said, [*(expected for *_, expected in refusals), "run the same command again"], strict=True
    ):
        assert expected in err
        assert len(err.strip().splitlines()) == 1
    assert [process.returncode for process in processes] == [1] * len(processes)
    assert not any(hub.files or hub.lfs for hub, *_ in refusals)


def refused(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_:
        push.main(arguments)
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    return int(str(exit_.value.code)), err


def test_what_is_not_ready_or_not_named_right_is_refused(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = Store(str(tmp_path / "half"))
    half.write_bytes("recipe.yaml", b"name: half")
    half.write_json("dataset/step.json", {"fingerprint": "made", "done": False})
    code, said = refused(half.root, "me/made", "--dry-run", capsys=capsys)
    assert (code, "is not complete: run jobs.choose first" in said) == (1, True)
    assert refused(store.root, "made", capsys=capsys)[0] == 2
    assert "no run at" in refused(str(tmp_path), "me/made", capsys=capsys)[1]
    assert "nothing is known of the licence" in refused(store.root, "me/made", "--public", capsys=capsys)[1]


def test_a_dry_run_names_the_files_and_the_unknown_licence(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    push.main([store.root, "me/made", "--dry-run"])
    out = capsys.readouterr().out
    assert "to me/made (private)" in out
    assert "train-00000.parquet  5 rows" in out
    assert "check: the licence of some rows is 'unknown'" in out
    assert "step.json" not in out


def test_what_is_staged_from_elsewhere_is_a_copy(store: Store) -> None:
    remote = Store(f"file://{store.root}")
    with push._staged(
        remote, ["dataset/train-00000.parquet", "dataset/README.md"], push._DATASET, repository="me/made"
    ) as folder:
        copied = folder / "train-00000.parquet"
        assert not copied.is_symlink()
        assert copied.read_bytes() == (Path(store.root) / "dataset" / "train-00000.parquet").read_bytes()
        assert "me/made" in (folder / "README.md").read_text()
    assert not folder.exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run with a model of two shards, as the export leaves it."""
    store = made_run(tmp_path_factory.mktemp("trained"))
    files = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for file in files:
        store.write_bytes(f"model/{file}", file.encode() * 1000)
    store.write_json("model/model.safetensors.index.json", {"weight_map": {"a": files[0], "b": files[1]}})
    store.write_bytes("model/adapter/adapter_model.safetensors", b"additions")
    store.write_json("model/config.json", {})
    store.write_json("model/phase.json", {"losses": []})
    write_model_card(store)
    store.write_json("model/step.json", {"fingerprint": "made", "done": True})
    return store


def test_a_broken_push_of_a_model_goes_on_where_it_was(trained: Store, tmp_path: Path) -> None:
    before = {"model.safetensors": b"of an earlier push", "notes.md": b"somebody's own"}
    with FakeHub(files=before, kind="model", breaks_after=1) as hub:
        _, err = start(hub, tmp_path, trained.root, "me/student", "--model").communicate(timeout=120)
        assert "run the same command again" in err
        assert hub.files == before
        hub.breaks_after = None
        # Some are sent at once, and one of them may have come through beside the one that broke.
        came = set(hub.lfs)
        hub.seen.clear()
        process = start(hub, tmp_path, trained.root, "me/student", "--model")
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"pushed: {hub.url}/me/student" in out
    assert len(came) == 1
    assert not any(f"PUT /lfs/{oid}" in hub.seen for oid in came)
    folder = Path(trained.root) / "model"
    ours = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"step.json", "phase.json"}
    assert hub.files.keys() == ours | {"notes.md"}
    assert {"adapter/adapter_model.safetensors", "model-00002-of-00002.safetensors", "config.json"} < ours
    for name in ours - {"README.md"}:
        assert hub.files[name] == (folder / name).read_bytes()
    card = hub.files["README.md"].decode()
    assert "vllm serve me/student" in card
    assert "OWNER/" not in card


def test_a_model_that_lacks_a_file_or_is_not_done_is_refused(
    store: Store, trained: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the model of" in refused(store.root, "me/student", "--model", "--dry-run", capsys=capsys)[1]
    push.main([trained.root, "me/student", "--model", "--dry-run"])
    out = capsys.readouterr().out
    assert "model-00001-of-00002.safetensors" in out
    assert "check: the base model's licence" in out
    assert "check: the licence of some rows is 'unknown'" in out
    assert "nothing is known" in refused(trained.root, "me/student", "--model", "--public", capsys=capsys)[1]
    outside = Store(str(tmp_path / "outside"))
    for name in (*trained.names_below("model"), "recipe.yaml"):
        outside.write_bytes(name, b"".join(trained.read_blocks(name)))
    for licence, told in ((None, 1), ("MIT", 0)):
        phases = [{"name": "only", "dataset": "/home/me/rows", "licence": licence}]
        outside.write_bytes("recipe.yaml", yaml.safe_dump({"name": "made", "train": {"phases": phases}}).encode())
        push.main([outside.root, "me/student", "--model", "--dry-run"])
        assert capsys.readouterr().out.count("check: the licence of some rows is 'unknown'") == told
    half = Store(str(tmp_path / "half"))
    for name in ("recipe.yaml", "model/step.json", "model/config.json", "model/README.md"):
        half.write_bytes(name, b"".join(trained.read_blocks(name)))
    half.write_bytes("model/model.safetensors.index.json", b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')
    said = refused(half.root, "me/student", "--model", "--dry-run", capsys=capsys)[1]
    assert "lacks model-00001-of-00002.safetensors" in said
