"""A phase's checkpoints in the store: which are whole, which is the newest, and what is deleted.

A checkpoint says in about.json which files it has and how long each is: a folder shows by itself whether it is whole.
Ray Train notes the ones it knows in a file of its own; a kill may leave that note behind the folders, or cut it off.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.fs as pafs
import ray

from pipeline.errors import Stop
from pipeline.store import Store

ABOUT = "about.json"
NOTE = "checkpoint_manager_snapshot.json"
_MARK = "checkpoint_"


@dataclass(frozen=True, slots=True)
class Kept:
    """The checkpoints below `folder` of a store."""

    store: Store
    folder: str

    def names(self) -> list[str]:
        """The folders of checkpoints that are there, whole or not."""
        fs, base = self._at()
        found = fs.get_file_info(pafs.FileSelector(base, allow_not_found=True))
        folders = (info.base_name for info in found if info.type == pafs.FileType.Directory)
        return sorted(name for name in folders if name.startswith(_MARK))

    def noted(self) -> dict[str, int]:
        """The checkpoints in Ray's note, oldest first, and their steps; none where no note can be read."""
        try:
            note = self.store.read_json(f"{self.folder}/{NOTE}")
        except (FileNotFoundError, ValueError):
            return {}
        return {each["checkpoint_dir_name"]: int(each["metrics"]["step"]) for each in note["checkpoint_results"]}

    def whole(self) -> dict[str, int]:
        """The whole checkpoints, oldest first, and their steps."""
        found = {name: about["step"] for name in self.names() if (about := self._whole(name)) is not None}
        return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))

    def sweep(self) -> None:
        """Delete what killed ranks left half written; only while no rank writes a checkpoint.

        A checkpoint in the note that is not whole was damaged later: it stays, to be named when it is opened.
        """
        for name in sorted(set(self.names()) - self.whole().keys() - self.noted().keys()):
            self.store.delete_folder(f"{self.folder}/{name}")

    def tidy(self) -> None:
        """Sweep, and set Ray's note right about what is there; only while nobody trains."""
        self.sweep()
        noted = self.noted()
        steps = {name: step for name, step in noted.items() if name in self.names()} | self.whole()
        order = sorted(steps, key=lambda name: (steps[name], name))
        if not order:
            self.store.delete(f"{self.folder}/{NOTE}")
        elif order != list(noted):
            self.store.write_json(f"{self.folder}/{NOTE}", _note({name: steps[name] for name in order}))

    def check(self, identity: str) -> None:
        """Look at the newest checkpoint before a cluster is put to work. Raises Stop if it can't be gone on from."""
        for name in list(self.noted())[-1:]:
            at = self.store.address(f"{self.folder}/{name}")
            about = self._said(name)
            _whose(at, about, identity)
            for wrong in _unequal(about["files"], self._sizes(name, about)):
                raise Stop(damaged(at, wrong))

    def delete(self) -> None:
        """Delete all checkpoints of a phase that is done."""
        self.store.delete(f"{self.folder}/{NOTE}")
        for name in self.names():
            self.store.delete_folder(f"{self.folder}/{name}")

    def _at(self) -> tuple[pafs.FileSystem, str]:
        fs, base = pafs.FileSystem.from_uri(self.store.root)
        return fs, f"{base.rstrip('/')}/{self.folder}"

    def _whole(self, name: str) -> dict[str, Any] | None:
        try:
            about = self._said(name)
        except Stop:
            return None
        return about if next(_unequal(about["files"], self._sizes(name, about)), None) is None else None

    def _said(self, name: str) -> dict[str, Any]:
        at = f"{self.folder}/{name}"
        try:
            return _about(self.store.address(at), self.store.read_text(f"{at}/{ABOUT}").encode())
        except (FileNotFoundError, UnicodeDecodeError):
            raise Stop(damaged(self.store.address(at), f"{ABOUT} is missing or no text")) from None

    def _sizes(self, name: str, about: Mapping[str, Any]) -> dict[str, int | None]:
        fs, base = self._at()
        return {file: fs.get_file_info(f"{base}/{name}/{file}").size for file in about["files"]}


def read_about(folder: Path, identity: str) -> dict[str, Any]:
    """What a checkpoint on this node says of itself: `ranks`, `step`. Raises Stop if it can't be gone on from."""
    path = folder / ABOUT
    if not path.is_file():
        raise Stop(damaged(folder, f"{ABOUT} is missing"))
    about = _about(folder, path.read_bytes())
    _whose(folder, about, identity)
    sizes = {name: (folder / name).stat().st_size if (folder / name).is_file() else None for name in about["files"]}
    for wrong in _unequal(about["files"], sizes):
        raise Stop(damaged(folder, wrong))
    return about


def _whose(at: Path | str, about: Mapping[str, Any], identity: str) -> None:
    """Raise Stop when a checkpoint belongs to something else."""
    if about["identity"] != identity:
        raise Stop(f"the checkpoint in {at} is of another model, data set or recipe: move it away to start anew")


def damaged(at: Path | str, what: str) -> str:
    """The line on a checkpoint that can't be gone on from."""
    return (
        f"the checkpoint in {at} is damaged: {what}; delete that folder and run the same command again: "
        "training then goes on from the checkpoint before"
    )


def _about(at: Path | str, content: bytes) -> dict[str, Any]:
    try:
        about = orjson.loads(content)
    except ValueError:
        about = None
    if not isinstance(about, dict) or not {"identity", "ranks", "step", "files"} <= about.keys():
        raise Stop(damaged(at, f"{ABOUT} is not what was written"))
    return about


def _unequal(files: Mapping[str, int], sizes: Mapping[str, int | None]) -> Iterator[str]:
    for file, size in sorted(files.items()):
        if sizes[file] != size:
            has = "is missing" if sizes[file] is None else f"has {sizes[file]} bytes instead of {size}"
            yield f"{file} {has}"


def _note(steps: Mapping[str, int]) -> dict[str, Any]:
    """Ray Train's own note (2.60, checkpoint_manager.py) of these checkpoints, the last one the newest."""
    results = [{"version": 0, "checkpoint_dir_name": name, "metrics": {"step": step}} for name, step in steps.items()]
    return {
        "ray_version": ray.__version__,
        "checkpoint_results": results,
        "checkpoint_report_indices": list(range(len(results))),
        "latest_checkpoint_result": results[-1],
        "pending_training_results": [],
        "pending_validation_specs": [],
        "current_report_index": len(results),
        "validated_checkpoint_dir_names": [],
        "timed_out_validation_checkpoint_dir_names": [],
        "failed_validation_checkpoint_dir_names": [],
    }
