"""What the stand-in teacher answers from, and which troubles of a real API it makes."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.settings import Settings

Share = Field(default=0.0, ge=0, le=1)

OddKind = Literal[
    "empty_body",
    "empty_content",
    "huge",
    "not_json",
    "not_utf8",
    "no_done",
    "no_usage",
    "error_event",
    "comments",
    "crlf",
    "html_502",
]


class StandinSettings(Settings):
    """A stand-in for a paid API."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"latency_s", "latency_sigma", "chunk_chars", "key", "errors_after_latency", "odd", "rate_headers"}
        | {"share_429", "retry_after_s", "share_500", "share_dropped"}
        | {"requests_per_minute", "tokens_per_minute", "tokens_counted", "max_in_flight"}
        | {"batch_s", "share_batch_errors", "share_batch_expired", "batch_expired_done"}
    )

    answers: Literal["worked", "replay"] = "worked"
    """worked: thoughts it writes for the demo's kinds of problems, and judgements under the judge prompt; replay:
    recorded answers of a file."""
    wrong: float = Field(default=0.1, ge=0, le=1)
    """worked: the share of draws that end on a wrong answer."""
    path: str | None = None
    """replay: a JSONL file with a problem and its recorded answers in each row."""
    prompt: str = "question"
    """replay: the field with the problem."""
    replies: tuple[str, ...] = ()
    """replay: the fields with the recorded answers, one a draw; a dot goes into an object."""
    reasoning: Literal["reasoning_content", "reasoning", "inline", "hidden"] = "reasoning_content"
    """worked: where the thought goes: a field of the message by that name, inline (in <think> tags before the reply),
    or hidden (only counted in usage)."""
    latency_s: float = Field(default=0.0, ge=0)
    """Seconds until the first token; the median where they vary."""
    latency_sigma: float = Field(default=0.0, ge=0)
    """How much the latency varies: the standard deviation of its natural logarithm (lognormal); 0 keeps it fixed. The
    same problem and seed always wait the same."""
    chunk_chars: int = Field(default=64, gt=0)
    """Characters in each event of a stream."""
    errors_after_latency: bool = False
    """Whether the errors of share_429, share_500 and odd.html_502 come after the latency instead of at once."""
    share_429: float = Share
    """The share of requests that are answered 429 with Retry-After."""
    retry_after_s: float = Field(default=0.2, ge=0)
    """What Retry-After says for share_429, seconds."""
    share_500: float = Share
    """The share of requests that are answered 500."""
    share_dropped: float = Share
    """The share of connections that are closed in the middle of the answer (streams only)."""
    odd: dict[OddKind, float] = {}
    """Kinds of odd replies and the share of requests that get each; `pipeline/standin/odd.py` says what each looks
    like."""
    share_truncated: float = Share
    """The share of answers that are cut off at half, with finish_reason length."""
    share_filtered: float = Share
    """The share of answers (by problem and seed, as the truncated are) that are withheld: finish_reason content_filter
    and no text."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """The rate limit in requests, with one second's worth (at least one request) at once; none limits nothing."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """The rate limit in tokens, with one second's worth at once. A request that needs more than that passes when the
    second's worth is there, and is paid for by those after it."""
    tokens_counted: Literal["used", "asked"] = "used"
    """What a request counts as in tokens_per_minute: used (its prompt and its answer) or asked (its prompt and its
    max_tokens, as OpenAI does)."""
    rate_headers: bool = False
    """Whether every chat reply says its rate limits in x-ratelimit-* headers."""
    max_in_flight: int | None = Field(default=None, gt=0)
    """The most requests open at once; further ones are answered 429 with no Retry-After. None limits nothing."""
    batch_s: float = Field(default=1.0, ge=0)
    """Seconds from the making of a batch until it is completed."""
    share_batch_errors: float = Share
    """The share of a batch's lines that fail with a 500."""
    share_batch_expired: float = Share
    """The share of batches that expire with only some lines done."""
    batch_expired_done: float = Field(default=0.5, ge=0, le=1)
    """The share of its lines, rounded up, that an expiring batch gets done."""
    key: str | None = Field(default=None, repr=False)
    """The key it asks for; none takes any. It guards nothing: it is there to try a wrong key."""

    @model_validator(mode="after")
    def _replay_has_a_file(self) -> "StandinSettings":
        if self.answers == "replay" and (self.path is None or not self.replies):
            raise ValueError("answers=replay needs path (a JSONL file) and replies (its fields with answers)")
        return self

    @model_validator(mode="after")
    def _troubles_are_shares(self) -> "StandinSettings":
        shares = [share for _, share in self.troubles]
        # The slack is for sums such as 0.1 + 0.2 + 0.7.
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise ValueError("share_429, share_500, share_dropped and odd are shares from 0 to 1, at most 1 together")
        return self

    @property
    def troubles(self) -> tuple[tuple[str, float], ...]:
        """The troubles that are drawn anew for each request, one at most, with their shares."""
        shares = (("429", self.share_429), ("500", self.share_500), ("dropped", self.share_dropped))
        return (*shares, *self.odd.items())

    @property
    def identity(self) -> str:
        """What decides its answers, for the ledger's keys."""
        source = f"{Path(self.path or '').name}:{','.join(self.replies)}" if self.path else f"wrong={self.wrong:g}"
        said = f"stand-in/{self.answers}/{source}/truncated={self.share_truncated:g}"
        # Only where they aren't the default, so that what was bought before these settings were is not bought again.
        if self.share_filtered:
            said += f"/filtered={self.share_filtered:g}"
        return said if self.reasoning == "reasoning_content" else f"{said}/reasoning={self.reasoning}"
