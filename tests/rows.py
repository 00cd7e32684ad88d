"""Whole rows for tests: each maker takes the columns that a test is about and fills in the rest."""

from typing import Any

from pipeline.ledger import Call, Entry, call_key
from pipeline.record import Problem, Trace, problem_id

ADDING = (
    "import asyncio, sys\nsys.path.insert(0, 'tests')\nfrom rows import entry\n"
    "from pipeline.ledger import Ledger\nfrom pipeline.store import Store\n"
    "async def one(ledger, draw):\n"
    "    await ledger.add(entry(draw))\n"
    "    print(entry(draw).key, flush=True)\n"
    "async def main():\n"
    "    ledger = Ledger(Store(sys.argv[1]), sys.argv[2])\n"
    "    for at in range(0, 1000000, 4):\n"
    "        await asyncio.gather(*(one(ledger, at + n) for n in range(4)))\n"
    "        if at % 20 == 16: ledger.merge()\n"
    "asyncio.run(main())\n"
)
"""A program that adds answers to the ledger of ROOT and PART, four at a time, and prints each key once it is held."""


def problem(prompt: str = "What is 1 + 1?", **columns: Any) -> Problem:
    rest = {"source": "made", "kind": "math", "answer": "2", "solution": "", "licence": "CC0"}
    return Problem(**{"id": problem_id(prompt), "prompt": prompt, **rest, "drop": None, "drop_why": None, **columns})


def trace(prompt: str = "What is 1 + 1?", **columns: Any) -> Trace:
    rest = {
        "id": problem_id(prompt),
        "source": "made",
        "kind": "math",
        "answer": "2",
        "solution": "",
        "licence": "CC0",
        "generation": "long",
        "engine": "model @ host",
        "draw": 0,
        "ledger_key": f"{columns.get('draw', 0):032x}",
        "messages": '[{"role":"user","content":"' + prompt + '"}]',
        "thought": "One and one.",
        "reply": "\\boxed{2}",
        "finish_reason": "stop",
        "prompt_tokens": 7,
        "thought_tokens": 4,
        "reply_tokens": 3,
        "cost_usd": 0.001,
        "seconds": 0.5,
        "verdict": "correct",
        "found": "2",
        "why": "same",
        "drop": None,
    }
    return Trace(**{"prompt": prompt, **rest, **columns})


def call(draw: int = 0, **columns: Any) -> Call:
    asked = {
        "engine": "model @ host",
        "messages": '[{"role":"user","content":"What is 1 + 1?"}]',
        "sampling": '{"temperature":0.6,"top_p":0.95,"max_tokens":100}',
        "seed": draw,
    } | columns
    key = call_key(**asked, draw=draw)
    return Call(key=key, problem_id=problem_id("What is 1 + 1?"), generation="long", draw=draw, **asked)


def entry(draw: int = 0, **columns: Any) -> Entry:
    asked = call(draw)
    rest = {name: getattr(asked, name) for name in Call.__dataclass_fields__} | {
        "outcome": "answered",
        "why": "",
        "thought": "One and one.",
        "reply": "\\boxed{2}",
        "finish_reason": "stop",
        "prompt_tokens": 7,
        "cached_tokens": 0,
        "thought_tokens": 4,
        "reply_tokens": 3,
        "cost_usd": 0.001,
        "seconds": 0.5,
        "attempts": 1,
        "bought_at": 1000.0,
        "invocation": "first",
    }
    return Entry(**{**rest, **columns})
