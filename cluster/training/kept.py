"""A phase's checkpoints in the store: which are whole, which is the newest, and what is deleted.

A checkpoint says in about.json which files it has and how long each is: a folder shows by itself whether it is whole.
Ray Train notes the ones it knows in a file of its own; a kill may leave that note behind the folders, or cut it off.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs
import ray

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
        fs, base = pafs.FileSystem.from_uri(self.store.root)
        found = fs.get_file_info(pafs.FileSelector(f"{base.rstrip('/')}/{self.folder}", allow_not_found=True))
        return sorted(info.base_name for info in found if info.base_name.startswith(_MARK))

    def noted(self) -> list[str]:
        """The checkpoints in Ray's note; none where there is no note that can be read."""
        return [result["checkpoint_dir_name"] for result in self._note().get("checkpoint_results", ())]

    def whole(self) -> dict[str, dict[str, Any]]:
        """What the whole checkpoints say of themselves, by folder, in the order of their steps."""
        found = {name: about for name in self.names() if (about := self._whole(name)) is not None}
        return dict(sorted(found.items(), key=lambda item: (item[1]["step"], item[0])))

    def tidy(self) -> None:
        """Delete what a kill left half written, and set Ray's note right; only while nobody trains.

        A checkpoint in the note that is no longer whole was damaged later: it stays, to be named when it is opened.
        """
        whole, before = self.whole(), self.noted()
        self._sweep(whole, before)
        names = [name for name in self.names() if name in whole or name in before]
        steps = {name: whole[name]["step"] if name in whole else None for name in names}
        order = sorted(whole, key=list(whole).index) + [name for name in names if steps[name] is None]
        if order and (order[-1] != before[-1:] or set(order) != set(before)):
            self.store.write_json(f"{self.folder}/{NOTE}", _note(order, whole))
        elif not order:
            self.store.delete(f"{self.folder}/{NOTE}")

    def sweep(self) -> None:
        """Delete what earlier ranks of this run left half written; only while no rank writes a checkpoint."""
        self._sweep(self.whole(), self.noted())

    def delete(self) -> None:
        """Delete all checkpoints of a phase that is done."""
        self.store.delete(f"{self.folder}/{NOTE}")
        for name in self.names():
            self.store.delete_folder(f"{self.folder}/{name}")

    def _sweep(self, whole: Mapping[str, Any], noted: list[str]) -> None:
        for name in self.names():
            if name not in whole and name not in noted:
                self.store.delete_folder(f"{self.folder}/{name}")

    def _whole(self, name: str) -> dict[str, Any] | None:
        try:
            about: dict[str, Any] = self.store.read_json(f"{self.folder}/{name}/{ABOUT}")
        except (FileNotFoundError, ValueError):
            return None
        fs, base = pafs.FileSystem.from_uri(self.store.root)
        at = f"{base.rstrip('/')}/{self.folder}/{name}"
        sizes = {file: fs.get_file_info(f"{at}/{file}").size for file in about["files"]}
        return about if next(unequal(about["files"], sizes), None) is None else None

    def _note(self) -> dict[str, Any]:
        try:
            note: dict[str, Any] = self.store.read_json(f"{self.folder}/{NOTE}")
        except (FileNotFoundError, ValueError):
            return {}
        return note


def unequal(files: Mapping[str, int], sizes: Mapping[str, int | None]) -> Iterator[str]:
    """What is wrong with a checkpoint's files, given the lengths that they have."""
    for file, size in sorted(files.items()):
        if sizes[file] != size:
            has = "is missing" if sizes[file] is None else f"has {sizes[file]} bytes instead of {size}"
            yield f"{file} {has}"


def _note(names: list[str], whole: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Ray Train's own note (2.60, checkpoint_manager.py) of these checkpoints, the last one the newest."""
    results = [
        {"version": 0, "checkpoint_dir_name": name, "metrics": {"step": whole[name]["step"]} if name in whole else {}}
        for name in names
    ]
    return {
        "ray_version": ray.__version__,
        "checkpoint_results": results,
        "checkpoint_report_indices": list(range(len(names))),
        "latest_checkpoint_result": results[-1],
        "pending_training_results": [],
        "pending_validation_specs": [],
        "current_report_index": len(names),
        "validated_checkpoint_dir_names": [],
        "timed_out_validation_checkpoint_dir_names": [],
        "failed_validation_checkpoint_dir_names": [],
    }


def read_about(text: str) -> dict[str, Any] | None:
    """What about.json says; None where it is cut off or something else."""
    try:
        about = json.loads(text)
    except ValueError:
        return None
    return about if isinstance(about, dict) and {"identity", "ranks", "step", "files"} <= about.keys() else None
