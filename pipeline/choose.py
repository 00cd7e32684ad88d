"""From verified traces to training examples: which are kept, and why each other is not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import orjson
import pyarrow as pa
from pydantic import Field

from pipeline.prompts import join, render
from pipeline.record import Trace
from pipeline.settings import Settings

MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))
PROVENANCE = (
    ("problem_id", pa.string()),
    ("source", pa.string()),
    ("licence", pa.string()),
    ("kind", pa.string()),
    ("answer", pa.string()),
    ("generation", pa.string()),
    ("engine", pa.string()),
    ("draw", pa.int64()),
    ("verdict", pa.string()),
    ("found", pa.string()),
    ("thought_tokens", pa.int64()),
    ("reply_tokens", pa.int64()),
    ("cost_usd", pa.float64()),
    ("ledger_key", pa.string()),
)
EXAMPLE_SCHEMA = pa.schema([pa.field("messages", MESSAGES), *(pa.field(name, kind) for name, kind in PROVENANCE)])


class ChooseSettings(Settings):
    """Which traces a student is trained on."""

    per_problem: int = Field(default=1, gt=0)
    """The most correct traces kept for a problem, in each generation."""
    order: Literal["draw", "shortest", "longest"] = "draw"
    """Which correct traces come first: the first drawn, or by their tokens."""
    thought: Literal["needed", "any"] = "any"
    """needed drops traces without a thought."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A trace and why it is left out; `drop` is None when it is kept."""

    trace: Trace
    drop: str | None


def choose(traces: list[Trace], *, settings: ChooseSettings, held_out: frozenset[str]) -> list[Choice]:
    """Judge all traces of a shard. `held_out` holds the ids of benchmark problems: none of them may pass."""
    kept: Counter[tuple[str, str]] = Counter()
    texts: set[tuple[str, str, str, str]] = set()
    choices = []
    for trace in sorted(traces, key=lambda trace: _rank(trace, settings)):
        drop = _unfit(trace, settings, held_out)
        text = (trace.id, trace.generation, trace.thought, trace.reply)
        if drop is None and text in texts:
            drop = "same_text"
        if drop is None and kept[trace.id, trace.generation] >= settings.per_problem:
            drop = "enough"
        if drop is None:
            kept[trace.id, trace.generation] += 1
            texts.add(text)
        choices.append(Choice(trace, drop))
    return choices


def examples(choices: list[Choice], *, templates: Mapping[str, str]) -> pa.Table:
    """The data set's rows for the kept traces: `messages` in the conversational format, then provenance.

    `templates` gives, by generation, the prompt that is trained under where it is not the one that was asked: a student
    must learn to solve a problem, not to rewrite a solution that it won't have.
    """
    kept = [choice.trace for choice in choices if choice.drop is None]
    columns: dict[str, list[object]] = {
        "messages": [_messages(trace, templates.get(trace.generation)) for trace in kept]
    }
    for name, _ in PROVENANCE:
        columns[name] = [getattr(trace, "id" if name == "problem_id" else name) for trace in kept]
    return pa.table(columns, schema=EXAMPLE_SCHEMA)


def _rank(trace: Trace, settings: ChooseSettings) -> tuple[str, str, int, int]:
    tokens = trace.thought_tokens + trace.reply_tokens
    length = {"draw": 0, "shortest": tokens, "longest": -tokens}[settings.order]
    return trace.id, trace.generation, length, trace.draw


def _unfit(trace: Trace, settings: ChooseSettings, held_out: frozenset[str]) -> str | None:
    if trace.drop is not None:
        return trace.drop
    if trace.id in held_out:
        return "in_benchmark"
    if trace.finish_reason != "stop":
        return "truncated" if trace.finish_reason == "length" else f"finish_{trace.finish_reason}"
    if trace.verdict != "correct":
        return trace.verdict
    if settings.thought == "needed" and not trace.thought:
        return "no_thought"
    return None


def _messages(trace: Trace, template: str | None) -> list[dict[str, str]]:
    asked = orjson.loads(trace.messages) if template is None else render(template, trace)
    return [*asked, {"role": "assistant", "content": join(thought=trace.thought, reply=trace.reply)}]
