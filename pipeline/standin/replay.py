"""Recorded answers of real models, found by the problem that a message contains."""

from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import Stop
from pipeline.standin.settings import StandinSettings

_HEAD_CHARS = 40


class Recorded:
    """The recorded answers of a file. Raises Stop when the file or a field isn't there."""

    def __init__(self, settings: StandinSettings) -> None:
        assert settings.path is not None
        path = Path(settings.path).expanduser()
        if not path.is_file():
            raise Stop(f"teacher.standin.path: no file {settings.path}")
        self._by_head: dict[str, list[tuple[str, list[str]]]] = {}
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    self._add(orjson.loads(line), settings, where=f"{settings.path} line {number}")

    def find(self, message: str, *, seed: int) -> str | None:
        """The recorded answer number `seed` (round and round) of the problem that the message begins with."""
        for prompt, replies in self._by_head.get(message[:_HEAD_CHARS], ()):
            if message.startswith(prompt):
                return replies[seed % len(replies)]
        return None

    def _add(self, row: dict[str, Any], settings: StandinSettings, *, where: str) -> None:
        prompt = str(_field(row, settings.prompt, where)).strip()
        replies = [str(_field(row, name, where)) for name in settings.replies]
        held = self._by_head.setdefault(prompt[:_HEAD_CHARS], [])
        held.append((prompt, replies))
        # The longest first, so that a problem never answers for one that continues it.
        held.sort(key=lambda pair: -len(pair[0]))


def _field(row: Any, name: str, where: str) -> Any:
    value = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise Stop(f"{where} has no field {name!r}")
        value = value[part]
    return value
