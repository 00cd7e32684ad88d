"""Pushing to the Hub: what lies there afterwards, over a real socket, and what is refused before anything is sent."""

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


def pushed(
    hub: FakeHub, home: Path, *arguments: object, token: str | None = TOKEN
) -> "subprocess.CompletedProcess[str]":
    """The job in a process of its own: the library reads its address and its token when it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_TOKEN": token} if token else {}
    command = [sys.executable, "-m", "jobs.push", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_the_repository_holds_the_files_and_a_card_with_its_name(tmp_path: Path) -> None:
    store = made_run(tmp_path / "run")
    before = {"train-00007.parquet": b"of an earlier push", "notes.md": b"somebody's own"}
    with FakeHub(files=before) as hub:
        ended = pushed(hub, tmp_path, store.root, "me/made")
    assert ended.returncode == 0, ended.stderr
    assert f"pushed: {hub.url}/datasets/me/made" in ended.stdout
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


def test_a_new_repository_is_private(tmp_path: Path) -> None:
    store = made_run(tmp_path / "run")
    with FakeHub(files=None, private=False) as hub:
        assert pushed(hub, tmp_path, store.root, "me/made").returncode == 0
    assert hub.private
    assert hub.files


@pytest.mark.parametrize(
    ("hub", "token", "said"),
    [
        (FakeHub(), None, "no token for the Hub"),
        (FakeHub(), "hf_other", "does not know the token"),
        (FakeHub(files=None, may_write=False), TOKEN, "may not write to me/made"),
        (FakeHub(files={}, private=False), TOKEN, "me/made is there and public"),
    ],
)
def test_what_the_hub_refuses_is_one_line_and_nothing_is_sent(
    tmp_path: Path, hub: FakeHub, token: str | None, said: str
) -> None:
    store = made_run(tmp_path / "run")
    with hub:
        ended = pushed(hub, tmp_path, store.root, "me/made", token=token)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not hub.files
    assert not hub.lfs


def test_a_hub_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    store = made_run(tmp_path / "run")
    ended = pushed(FakeHub(url="http://127.0.0.1:9"), tmp_path, store.root, "me/made")
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1


def refused(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_:
        push.main(arguments)
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    return int(str(exit_.value.code)), err


def test_a_data_set_that_is_not_complete_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = made_run(tmp_path / "run")
    store.write_json("dataset/step.json", {"fingerprint": "made", "done": False})
    code, said = refused(store.root, "me/made", "--dry-run", capsys=capsys)
    assert (code, "is not complete: run jobs.choose first" in said) == (1, True)


def test_a_wrong_name_a_wrong_run_and_public_rows_of_unknown_licence_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = made_run(tmp_path / "run")
    assert refused(store.root, "made", capsys=capsys)[0] == 2
    assert "no run at" in refused(str(tmp_path), "me/made", capsys=capsys)[1]
    assert "nothing is known of the licence" in refused(store.root, "me/made", "--public", capsys=capsys)[1]


def test_a_dry_run_names_the_files_and_the_unknown_licence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = made_run(tmp_path / "run")
    push.main([store.root, "me/made", "--dry-run"])
    out = capsys.readouterr().out
    assert "to me/made (private)" in out
    assert "train-00000.parquet  5 rows" in out
    assert "check: the licence of some rows is 'unknown'" in out
    assert "step.json" not in out


def test_what_is_staged_from_elsewhere_is_a_copy(tmp_path: Path) -> None:
    local = made_run(tmp_path / "run")
    remote = Store(f"file://{local.root}")
    with push._staged(remote, ["dataset/train-00000.parquet", "dataset/README.md"], repository="me/made") as folder:
        copied = folder / "train-00000.parquet"
        assert not copied.is_symlink()
        assert copied.read_bytes() == (Path(local.root) / "dataset" / "train-00000.parquet").read_bytes()
        assert "me/made" in (folder / "README.md").read_text()
    assert not folder.exists()
