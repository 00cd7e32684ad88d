"""Judge an answer by reasoning-gym's own scorer of the task that made the problem: kind `gym`.

The scorer needs the whole entry, not only an answer: `gym_gold` writes it as JSON, tuples and all, and `score_gym`
reads it back. Some scorers run the answer as code (`eval`, sympy's `parse_expr`): they are given only text that can do
no harm there. Scorers may still be slow or hungry: call `score_gym` where it can be killed.
"""

import ast
import json
import re
import warnings
from functools import lru_cache
from typing import Any

from pipeline.errors import Stop
from pipeline.verdict import Verdict

EVALUATED = frozenset({"binary_matrix", "composite", "n_queens", "spiral_matrix", "string_insertion"})
"""Tasks whose scorer calls `eval` on the answer (reasoning-gym 0.1.25; composite: that of another task)."""
PARSED = frozenset(
    {
        "composite",
        "countdown",
        "intermediate_integration",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
    }
)
"""Tasks whose scorer calls sympy's `parse_expr`, which is `eval` too."""

_LONGEST = 10_000
_FUNCTIONS = "sin|cos|tan|sec|csc|cot|sinh|cosh|tanh|asin|acos|atan|exp|log|ln|sqrt|pi|Abs"
# No quote, bracket, underscore or attribute: names, numbers and arithmetic can call nothing that does harm.
_FORMULA = re.compile(rf"(?:(?<![A-Za-z])(?:{_FUNCTIONS}|[A-Za-z])(?![A-Za-z])|\d+\.\d+|\d|[-+*/() ])*")
_LITERAL = (
    *(ast.Expression, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Name, ast.Load),
    *(ast.UnaryOp, ast.USub, ast.UAdd),
)
_PERFECT = 1 - 1e-9
_FORM = 'JSON as {"task": ..., "options": {...}, "entry": {...}}'
_NONSENSE = "0 no answer 0"


def gym_gold(task: str, entry: dict[str, Any], options: dict[str, Any] | None = None) -> str:
    """The gold answer of one problem: what its scorer needs, as JSON. `options` are the task's own.

    Raises Stop when the entry does not come back from JSON as it was, or its own answer is then not fully right. An
    entry without an answer of its own (several may be right, as in graph_color) is not tried.
    """
    gold = {"task": task, "options": _plain(options or {}, task), "entry": _plain(entry, task)}
    text = json.dumps(gold)
    if entry.get("answer") is not None:
        verdict = score_gym(text, entry["answer"], trusted=True)
        if verdict.verdict != "correct":
            raise Stop(f"reasoning-gym task {task}: an entry's own answer is not right: {verdict.why}")
    return text


def score_gym(gold: str, found: str, *, trusted: bool = False) -> Verdict:
    """Correct only at the full score; undecided when the scorer fails, or would run this text as code.

    `trusted` text is run all the same: the task's own answer.
    """
    try:
        task, entry, options = _read(gold)
    except ValueError as error:
        return Verdict("undecided", found, f"the gold answer is {error}")
    if not trusted and found != entry.get("answer") and not harmless(task, found):
        return Verdict("undecided", found, "reasoning_gym would run this answer as code")
    try:
        dataset = _dataset(task, json.dumps(options, sort_keys=True))
        score = float(dataset.score_answer(found, entry))
        if score >= _PERFECT and found != entry.get("answer") and dataset.score_answer(_NONSENSE, entry) >= _PERFECT:
            # game_of_life_halting does, wherever the answer is False.
            return Verdict("undecided", found, "reasoning_gym's scorer takes any text here")
    except Exception as error:  # noqa: BLE001 a scorer may fail in any way on foreign text; that is a reason, not a crash
        return Verdict("undecided", found, f"reasoning_gym failed: {type(error).__name__}: {error}"[:200])
    return Verdict("correct" if score >= _PERFECT else "wrong", found, f"reasoning_gym scored {score:.4g}")


def bad_gym_gold(gold: str) -> str | None:
    """Why a text is no gold answer that `score_gym` can read, None when it is one; no scorer is asked."""
    try:
        _read(gold)
    except ValueError as error:
        return str(error)
    return None


def _read(gold: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Task, entry and options of a gold answer. Raises ValueError that says what it must be."""
    try:
        data = json.loads(gold)
        task, entry, options = data["task"], _restored(data["entry"]), _restored(data.get("options", {}))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no gym gold ({type(error).__name__}: {error}"[:120] + f"): one is {_FORM}") from error
    if not isinstance(task, str) or not isinstance(entry, dict) or not isinstance(options, dict):
        raise ValueError(f"no gym gold (task must be text, entry and options objects): one is {_FORM}")
    return task, entry, options


def harmless(task: str, text: str) -> bool:
    """Whether the task's scorer can be given this text."""
    if task in EVALUATED and not _is_literal(text):
        return False
    # A power of powers is harmless to read, and then eats all memory and time: limits hold that, where this is called.
    return task not in PARSED or (len(text) <= _LONGEST and _FORMULA.fullmatch(text) is not None)


def _is_literal(text: str) -> bool:
    """Whether `eval` of the text only builds a value, or fails to read it."""
    if len(text) > _LONGEST:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return True
    except (RecursionError, MemoryError):
        return False
    return all(isinstance(node, _LITERAL) for node in ast.walk(tree))


@lru_cache(maxsize=32)
def _dataset(task: str, options: str) -> Any:
    with warnings.catch_warnings():
        # reasoning-gym imports a package whose source warns on every import.
        warnings.simplefilter("ignore", SyntaxWarning)
        import reasoning_gym
    return reasoning_gym.create_dataset(task, **json.loads(options))


def _plain(value: Any, task: str) -> Any:
    """The value as JSON data; what JSON has no word for is written as {"!": its kind, "of": its items}."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list):
        return [_plain(item, task) for item in value]
    if isinstance(value, dict) and "!" not in value and all(isinstance(key, str) for key in value):
        return {key: _plain(item, task) for key, item in value.items()}
    if isinstance(value, dict):
        return {"!": "dict", "of": [[_plain(key, task), _plain(item, task)] for key, item in value.items()]}
    if isinstance(value, tuple | set | frozenset):
        return {"!": type(value).__name__, "of": [_plain(item, task) for item in value]}
    raise Stop(
        f"reasoning-gym task {task}: {type(value).__name__} in an entry can't be written as JSON; use another kind"
    )


_BUILD: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict}


def _restored(data: Any) -> Any:
    if isinstance(data, list):
        return [_restored(item) for item in data]
    if isinstance(data, dict) and "!" in data:
        return _BUILD[data["!"]](_restored(item) for item in data["of"])
    if isinstance(data, dict):
        return {key: _restored(item) for key, item in data.items()}
    return data
