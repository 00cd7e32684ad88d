"""Which recipe made a folder: a record beside each step's files, so that none is redone or trusted blindly."""

from typing import Literal

from pipeline.store import Store

State = Literal["new", "begun", "done", "stale"]

_RECORD = "step.json"


def state(store: Store, folder: str, *, fingerprint: str) -> State:
    """new: nothing there; begun or done: by this very recipe; stale: made by another one."""
    name = f"{folder}/{_RECORD}"
    if not store.exists(name):
        return "new"
    record = store.read_json(name)
    if record["fingerprint"] != fingerprint:
        return "stale"
    return "done" if record["done"] else "begun"


def begin(store: Store, folder: str, *, fingerprint: str) -> None:
    """Make the folder ready for this recipe: what another recipe left there is deleted (the ledger never is)."""
    if state(store, folder, fingerprint=fingerprint) in ("new", "stale"):
        store.delete_folder(folder)
        _write(store, folder, fingerprint, done=False)


def finish(store: Store, folder: str, *, fingerprint: str) -> None:
    """Mark the step as complete."""
    _write(store, folder, fingerprint, done=True)


def _write(store: Store, folder: str, fingerprint: str, *, done: bool) -> None:
    store.write_json(f"{folder}/{_RECORD}", {"fingerprint": fingerprint, "done": done})
