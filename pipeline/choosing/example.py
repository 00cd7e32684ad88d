"""The data set's rows: examples to train on, and preference pairs, in the conversational format, with provenance."""

from collections.abc import Mapping, Sequence

import orjson
import pyarrow as pa

from pipeline.prompts import join, render
from pipeline.record import Trace

MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))
_PROBLEM = (
    ("problem_id", pa.string()),
    ("source", pa.string()),
    ("row", pa.string()),
    ("licence", pa.string()),
    ("kind", pa.string()),
    ("answer", pa.string()),
    ("subject", pa.string()),
    ("level", pa.string()),
    ("cluster", pa.string()),
    ("pass_rate", pa.float64()),
    ("pass_draws", pa.int64()),
    ("generation", pa.string()),
    ("engine", pa.string()),
)
_TRACE = (
    ("draw", pa.int64()),
    ("verdict", pa.string()),
    ("found", pa.string()),
    ("finish_reason", pa.string()),
    ("thought_tokens", pa.int64()),
    ("reply_tokens", pa.int64()),
    ("cost_usd", pa.float64()),
    ("ledger_key", pa.string()),
)
_LENGTHS = (("tokens", pa.int64()), ("student_tokens", pa.int64()), ("agreement", pa.float64()))
_SIDES = ("chosen", "rejected")
# The problem's id is called by what it is, beside the ids of other things.
_NAMES = {"problem_id": "id"}

EXAMPLE_SCHEMA = pa.schema(
    [pa.field("messages", MESSAGES), *(pa.field(name, kind) for name, kind in (*_PROBLEM, *_TRACE, *_LENGTHS))]
)
PAIR_SCHEMA = pa.schema(
    [
        *(pa.field(name, MESSAGES) for name in ("prompt", *_SIDES)),
        *(pa.field(name, kind) for name, kind in _PROBLEM),
        *(
            pa.field(f"{side}_{name}", kind)
            for side in _SIDES
            for name, kind in (*_TRACE, ("student_tokens", pa.int64()))
        ),
    ]
)


def examples(
    traces: Sequence[Trace],
    *,
    student_tokens: Sequence[int | None],
    agreement: Sequence[float | None],
    templates: Mapping[str, str],
) -> pa.Table:
    """The data set's rows for the chosen traces: `messages` in the conversational format, then provenance.

    `templates` gives, by generation, the prompt that is trained under where it is not the one that was asked: a student
    must learn to solve a problem, not to rewrite a solution that it won't have.
    """
    columns: dict[str, Sequence[object]] = {
        "messages": [[*_asked(trace, templates), _answer(trace)] for trace in traces],
        **{name: _column(traces, name) for name, _ in (*_PROBLEM, *_TRACE)},
        "tokens": [trace.thought_tokens + trace.reply_tokens for trace in traces],
        "student_tokens": student_tokens,
        "agreement": agreement,
    }
    return pa.table(columns, schema=EXAMPLE_SCHEMA)


def pairs(
    sides: Sequence[tuple[Trace, Trace]],
    *,
    student_tokens: Sequence[tuple[int | None, int | None]],
    templates: Mapping[str, str],
) -> pa.Table:
    """Preference pairs with an explicit prompt, as TRL's DPOTrainer takes them; a side is one message."""
    goods = [good for good, _ in sides]
    columns: dict[str, Sequence[object]] = {
        "prompt": [_asked(trace, templates) for trace in goods],
        **{name: _column(goods, name) for name, _ in _PROBLEM},
    }
    for number, side in enumerate(_SIDES):
        traces = [pair[number] for pair in sides]
        columns[side] = [[_answer(trace)] for trace in traces]
        columns |= {f"{side}_{name}": _column(traces, name) for name, _ in _TRACE}
        columns[f"{side}_student_tokens"] = [tokens[number] for tokens in student_tokens]
    return pa.table({name: columns[name] for name in PAIR_SCHEMA.names}, schema=PAIR_SCHEMA)


def llama_factory(name: str) -> dict[str, object]:
    """LLaMA-Factory's dataset_info.json for the folder it lies in: `dataset_dir` is the folder, `dataset` the name.

    The folder's card says which files are for training, so they are opened as a data set of the Hub's form.
    """
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    return {
        name: {
            "script_url": ".",
            "split": "train",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {**tags, "system_tag": "system"},
        }
    }


def _column(traces: Sequence[Trace], name: str) -> list[object]:
    return [getattr(trace, _NAMES.get(name, name)) for trace in traces]


def _asked(trace: Trace, templates: Mapping[str, str]) -> list[dict[str, str]]:
    template = templates.get(trace.generation)
    asked: list[dict[str, str]] = orjson.loads(trace.messages) if template is None else render(template, trace)
    return asked


def _answer(trace: Trace) -> dict[str, str]:
    return {"role": "assistant", "content": join(thought=trace.thought, reply=trace.reply)}
