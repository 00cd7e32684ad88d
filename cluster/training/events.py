"""events/train-<phase>.jsonl: one JSON line for every step and whatever else happened, however often training restarts.

Nothing can be appended on an object store, so the file is written whole, each time, but rarely enough that it takes at
most a twentieth of the time; it is complete when the phase ends.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.store import Store

_EVERY_S = 2.0
_SHARE = 20
# What tells of a life of the ranks, or was measured elsewhere, did happen even if the step is done again.
_NOT_REDONE = frozenset({"phase", "start", "resume", "ranks", "evaluation", "evaluation_failed"})


@dataclass(frozen=True, slots=True)
class _Line:
    event: str
    step: int
    text: bytes


class Events:
    """The file of one phase; what another phase of that name left is replaced."""

    def __init__(self, store: Store, name: str, *, identity: str) -> None:
        self._store, self._name = store, name
        self._lines = _read(store, name)
        self.steps = 0
        """The last step that has a line."""
        self._written, self._took, self._is_new = 0.0, 0.0, False
        if not self._lines or orjson.loads(self._lines[0].text).get("identity") != identity:
            self._lines = []
            self.add("phase", 0, {"identity": identity})

    def add(self, event: str, step: int, figures: Mapping[str, Any]) -> None:
        """Add a line; `step` is the number of steps that were done by then."""
        text = orjson.dumps({"event": event, "step": step, **figures}, option=orjson.OPT_SERIALIZE_NUMPY)
        self._lines.append(_Line(event, step, text))
        self._is_new = True
        if event == "step":
            self.steps = step

    def back_to(self, step: int) -> list[int]:
        """Drop what is done again after so many steps; the numbers of steps before that have no line, in order."""
        self._lines = [line for line in self._lines if line.step <= step or line.event in _NOT_REDONE]
        self._is_new = True
        there = {line.step for line in self._lines if line.event == "step"}
        self.steps = max(there, default=0)
        return [number for number in range(1, step + 1) if number not in there]

    def write_when_due(self) -> None:
        """Write the file if there is something new and the last time is long enough ago."""
        if self._is_new and time.monotonic() - self._written > max(_EVERY_S, _SHARE * self._took):
            self.write()

    def write(self) -> None:
        """Write the file."""
        started = self._written = time.monotonic()
        self._store.write_bytes(self._name, b"".join(line.text + b"\n" for line in self._lines))
        self._is_new = False
        self._written = time.monotonic()
        self._took = self._written - started


def _read(store: Store, name: str) -> list[_Line]:
    if not store.exists(name):
        return []
    lines = []
    for text in store.read_text(name).encode().splitlines():
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            # Somebody else wrote into it.
            continue
        if isinstance(value, dict) and isinstance(value.get("step"), int) and "event" in value:
            lines.append(_Line(str(value["event"]), value["step"], text))
    return lines
