"""The line that a wrong recipe gets: where, what stands there, what would be right; nothing in a library's words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from test_recipe import SMALL, wrong

from jobs.recipe import Recipe
from jobs.recipe_errors import line
from pipeline.errors import BadRecipe

LINES = {
    "seed=many": "seed='many': must be an integer, in digits",
    "seed=1.5": "seed=1.5: must be an integer",
    "seed=2026-01-01": "seed=2026-01-01: must be an integer",
    "seed=-1": "seed=-1: must be at least 0",
    "sources.0.size=0": "sources.0.size=0: must be above 0",
    "choose.validation=2": "choose.validation=2: must be at most 0.5",
    "train.lr=fast": "train.lr='fast': must be a number",
    "train.lr=.inf": "train.lr=inf: must be a finite number",
    "curate.normalise=maybe": "curate.normalise='maybe': must be true or false",
    "name=5": "name=5: must be text: put it in quotes, '5'",
    "name=a/b": "name='a/b': must be letters, digits, dots, dashes and underscores, a letter or digit first",
    "storage=null": "storage=null: must be text",
    "curate.rules=image": "curate.rules='image': must be a list: [image]",
    "distill.generations=[]": "distill.generations=[]: say which traces are made of the sources, or take these out",
    "sources=[]": "sources=[]: name where the problems of distill.generations come from",
    "train.phases=[]": "train.phases=[]: must have at least 1 item",
    "curate.near=5": "curate.near=5: must be a section with similarity",
    "curate.near=null": "curate.near=null: must be a section with similarity; or leave it out",
    "prompts=solve": "prompts='solve': must be a section with names of yours",
    "prompts={1: 'a {prompt}'}": "prompts: the key 1 must be text: put it in quotes",
    "student.engine.device=tpu": "student.engine.device='tpu': must be one of cpu, gpu",
    "choose.order=drow": ("choose.order='drow': must be one of draw, shortest, longest, seeded; did you mean draw?"),
    "sources.0.format=csv": "sources.0.format='csv': must be one of jsonl, parquet, hf, reasoning_gym",
    "difficulty={above: 0.5, below: 0.5}": ("difficulty: above=0.5 must be below below=0.5, or no problem is kept"),
    "sources.1.fields={1: a}": (
        "unknown key sources.1.fields.1; there are prompt, answer, solution, id, subject, level"
    ),
    "sources.1.prompt=question": "unknown key sources.1.prompt; did you mean sources.1.fields.prompt?",
    "distill.generations.0.max_tokens=9": (
        "unknown key distill.generations.0.max_tokens; did you mean distill.generations.0.sampling.max_tokens or "
        "distill.generations.0.truncated.max_tokens?"
    ),
    "student={modle: x}": "unknown key student.modle; did you mean student.model?",
    "extend=small.yaml": "unknown key extend; did you mean extends?",
    "curate.without=[no_answer]": "curate: without='no_answer', which always holds; it can name too_long, ",
}


@pytest.fixture
def small(tmp_path: Path) -> str:
    (tmp_path / "small.yaml").write_text(SMALL)
    return str(tmp_path / "small.yaml")


@pytest.mark.parametrize("override", LINES)
def test_a_line_says_where_what_and_what_would_be_right(small: str, override: str) -> None:
    assert wrong(small, override).startswith(f"{small}: {LINES[override]}")


def test_no_value_at_any_place_is_told_in_the_words_of_a_library() -> None:
    whole = _whole()
    told, theirs = 0, ("nput should", "valid ", "instance of", "parse", "pattern", "tuple ", "dictionary", "\n")
    for path in _paths(whole):
        for value in ("x!", -7, float("inf"), True, None, [[]], {"zzz": 1}, {3: 4}):
            try:
                Recipe.model_validate(_put(whole, path, value))
            except ValidationError as error:
                said = line(error)
                assert not any(words in said for words in theirs), (path, value, said)
                assert not path or str(path[0]) in said, (path, value, said)
                told += 1
            except BadRecipe:
                told += 1
    assert told > 1500


@pytest.mark.parametrize("value", ["sk-secret 1", ["sk-secret"], {"sk-secret": 1}, 91823])
def test_what_may_be_a_key_is_not_shown_back(value: object) -> None:
    whole, seen = _whole(), 0
    for path in _paths(whole):
        if path and any(word in str(path[-1]) for word in ("key", "base_url")):
            if value == "sk-secret 1" and path[-1] in ("key", "api_key_file"):
                # Any text is right there.
                continue
            with pytest.raises(ValidationError) as refused:
                Recipe.model_validate(_put(whole, path, value))
            said = line(refused.value)
            assert str(path[-1]) in said
            assert not any(secret in said for secret in ("sk-secret", "91823")), (path, said)
            seen += 1
    assert seen >= 4


def _whole() -> dict[str, Any]:
    """A recipe with every section written out."""
    values = yaml.safe_load(SMALL)
    values |= {"judge": {"engine": "teacher"}, "difficulty": {"engine": "teacher"}}
    values["paraphrases"] = {"embedder": "e", "engine": "teacher"}
    values["evaluate"] = {"benchmarks": {"a": {"ready": "aime24"}}}
    served = [{"base_url": "https://a.example/v1", "api_key_env": "A"}]
    values["evaluate"]["teachers"] = {"other": {"model": "o", "served_by": "o", "endpoints": served}}
    values["choose"] = {
        "quotas": {"source": {"sums": {"at_least": 1}}},
        "target": {"rows": 5},
        "difficulty": [{"low": 0, "high": 1, "share": 1}],
        "pairs": {"per_problem": 1},
    }
    whole: dict[str, Any] = Recipe.model_validate(values).model_dump(mode="json")
    return whole


def _paths(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(inner, (*at, key))


def _put(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    if not path:
        return new
    inner = _put(value[path[0]], path[1:], new)
    if isinstance(value, dict):
        return {**value, path[0]: inner}
    return [inner if place == path[0] else item for place, item in enumerate(value)]
