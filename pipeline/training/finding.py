"""What the gate finds before training."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that can't work, or that may not be what was meant: what it is and what to change, in one line."""

    kind: Literal["refusal", "warning"]
    text: str


def refusal(text: str) -> Finding:
    """It can't work."""
    return Finding("refusal", text)


def warning(text: str) -> Finding:
    """It works, and may not be what was meant."""
    return Finding("warning", text)
