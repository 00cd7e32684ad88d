"""Recorded answers of real models, found by the problem that a message contains."""

from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import Stop
from pipeline.rules.normalise import normal_prompt
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
        self._head_lengths: list[int] = []
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    self._add(_row(line, number, settings), settings, where=f"{settings.path} line {number}")

    def find(self, message: str, *, seed: int) -> str | None:
        """The recorded answer number `seed` (round and round) of the problem that the message begins with."""
        for length in self._head_lengths:
            for prompt, replies in self._by_head.get(message[:length], ()):
                if message.startswith(prompt):
                    return replies[seed % len(replies)]
        return None

    def _add(self, row: dict[str, Any], settings: StandinSettings, *, where: str) -> None:
        prompt = str(_field(row, settings.prompt, where)).strip()
        replies = [str(_field(row, name, where)) for name in settings.replies]
        # A curated problem asks in its normalised text.
        for text in dict.fromkeys((prompt, normal_prompt(prompt, kind="math"))):
            self._hold(text, replies)

    def _hold(self, prompt: str, replies: list[str]) -> None:
        head = prompt[:_HEAD_CHARS]
        if len(head) not in self._head_lengths:
            self._head_lengths = sorted([*self._head_lengths, len(head)], reverse=True)
        held = self._by_head.setdefault(head, [])
        held.append((prompt, replies))
        # The longest first, so that a problem never answers for one that continues it.
        held.sort(key=lambda pair: -len(pair[0]))


def _row(line: bytes, number: int, settings: StandinSettings) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Stop(f"{settings.path} line {number} is not JSON ({error}); mend or remove that line") from error


def _field(row: Any, name: str, where: str) -> Any:
    value = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise Stop(f"{where} has no field {name!r}")
        value = value[part]
    return value
