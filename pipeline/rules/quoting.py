"""How a reason quotes what it found: short, on one line."""

_LONGEST = 80


def quoted(text: str) -> str:
    """The text on one line, at most 80 characters of it."""
    line = " ".join(text[: 4 * _LONGEST].split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
