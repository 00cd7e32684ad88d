"""What the stand-in teacher answers from, and which troubles of a real API it makes."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.settings import Settings

Share = Field(default=0.0, ge=0, le=1)


class StandinSettings(Settings):
    """A stand-in for a paid API."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"latency_s", "share_429", "retry_after_s", "share_500", "share_dropped", "chunk_chars", "key"}
    )

    answers: Literal["worked", "replay"] = "worked"
    """worked: thoughts it writes for the demo's kinds of problems; replay: recorded answers of a file."""
    wrong: float = Field(default=0.1, ge=0, le=1)
    """worked: the share of draws that end on a wrong answer."""
    path: str | None = None
    """replay: a JSONL file with a problem and its recorded answers in each row."""
    prompt: str = "question"
    """replay: the field with the problem."""
    replies: tuple[str, ...] = ()
    """replay: the fields with the recorded answers, one a draw; a dot goes into an object."""
    latency_s: float = Field(default=0.0, ge=0)
    """Seconds until the first token."""
    chunk_chars: int = Field(default=64, gt=0)
    """Characters in each event of a stream."""
    share_429: float = Share
    """The share of requests that are answered 429 with Retry-After."""
    retry_after_s: float = Field(default=0.2, ge=0)
    """What Retry-After says, seconds."""
    share_500: float = Share
    """The share of requests that are answered 500."""
    share_dropped: float = Share
    """The share of connections that are closed in the middle of the answer."""
    share_truncated: float = Share
    """The share of answers that are cut off at half, with finish_reason length."""
    key: str | None = Field(default=None, repr=False)
    """The key it asks for; none takes any. It guards nothing: it is there to try a wrong key."""

    @model_validator(mode="after")
    def _replay_has_a_file(self) -> "StandinSettings":
        if self.answers == "replay" and (self.path is None or not self.replies):
            raise ValueError("answers=replay needs path (a JSONL file) and replies (its fields with answers)")
        return self

    @property
    def identity(self) -> str:
        """What decides its answers, for the ledger's keys."""
        source = f"{Path(self.path or '').name}:{','.join(self.replies)}" if self.path else f"wrong={self.wrong:g}"
        return f"stand-in/{self.answers}/{source}/truncated={self.share_truncated:g}"
