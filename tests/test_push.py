"""Pushing to the Hub: what lies there afterwards, over a real socket, and what is refused before anything is sent."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import TOKEN, FakeHub
from made_dataset import made_run
from tiny import ROOT

from jobs import push
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
    with push._staged(remote, ["dataset/train-00000.parquet", "dataset/README.md"], repository="me/made") as folder:
        copied = folder / "train-00000.parquet"
        assert not copied.is_symlink()
        assert copied.read_bytes() == (Path(store.root) / "dataset" / "train-00000.parquet").read_bytes()
        assert "me/made" in (folder / "README.md").read_text()
    assert not folder.exists()
