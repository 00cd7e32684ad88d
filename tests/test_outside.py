"""Rows from outside: none that holds a held-out problem is trained on, and only what that takes away trains anew."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tiny
from rows import problem

from cluster import packs
from cluster.curation import shard_name
from cluster.packs import Windows
from jobs.curate import BENCHMARK_SHARDS, benchmark_folder
from jobs.evaluate import _overlap
from jobs.outside import check_held_out, mean_tokens, wanted_rows
from jobs.phases import prepared
from jobs.recipe import Recipe
from jobs.recipe_file import load
from jobs.steps import steps_of, store_of
from pipeline.errors import Stop
from pipeline.record import Problem, to_table
from pipeline.store import Store

TEA = "A cup of tea costs 3 coins and a cake costs 5 coins. How much do 4 cups and 2 cakes cost together?"
REWORDED = (
    "What is the price of 4 cups of tea and 2 cakes together, if tea costs 3 coins a cup and a cake costs 5 coins?"
)
SHORT = "Simplify $\\sqrt{180}$."
OTHER = "Ben walks 12 miles north and 7 miles east. How far from his home is Ben after all these 19 miles?"


def talk(*turns: tuple[str, str], generation: str = "long") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], "generation": generation}


def asked(text: str, *, said: str = "\\boxed{1}", generation: str = "long") -> dict[str, Any]:
    return talk(("system", "You are helpful."), ("user", text), ("assistant", said), generation=generation)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe that trains on rows from outside and measures on an exam; without Ray."""

    def one_by_one(items: Sequence[Any], do: Callable[[Any], Any], *, name: str, cpus: float) -> Iterator[Any]:
        return map(do, items)

    monkeypatch.setattr(packs, "each", one_by_one)
    tiny.tiny_tokenizer(tmp_path / "model")
    exam = tiny.recorded(tmp_path / "exam.jsonl", problems=1)
    benchmarks = {"exam": {"name": "exam", "format": "jsonl", "path": str(exam), "fields": {"prompt": "question"}}}
    phases = [{"name": "only", "dataset": str(tmp_path / "rows")}]
    train = {"device": "cpu", "workers": 1, "window": 1024, "lr": 1e-3, "phases": phases}
    made = tiny.recipe(tmp_path, exam, train=train, evaluate={"benchmarks": benchmarks}, sources=[], distill={})
    return load(str(made))


def given(recipe: Recipe, *rows: dict[str, Any]) -> None:
    Store(recipe.train.phases[0].dataset or "").write_table("train-0.parquet", pa.Table.from_pylist(list(rows)))


def held_out(recipe: Recipe, *prompts: str) -> None:
    """The exam's problems, as curating writes them."""
    for shard in range(BENCHMARK_SHARDS):
        problems = [problem(prompt) for prompt in prompts] if shard == 0 else []
        name = f"{benchmark_folder('exam')}/{shard_name(shard)}.parquet"
        store_of(recipe).write_table(name, to_table(problems, Problem))


def left_out(recipe: Recipe) -> dict[str, int]:
    (phase,) = prepared(recipe)
    return dict(phase.meta.left_out)


def test_a_problem_is_found_however_often_it_is_drawn_and_under_a_system_prompt(recipe: Recipe) -> None:
    held_out(recipe, TEA, SHORT)
    others = [asked(f"How many are {n} and {n + 1} and {n + 2} apples?") for n in range(300)]
    given(recipe, *others, *[asked(REWORDED)] * 64, *[asked(f"Please. {TEA}")] * 64, asked(SHORT), asked(OTHER))
    assert left_out(recipe) == {"benchmark_near": 64, "benchmark_ngram": 64, "in_benchmark": 1}


def test_every_turn_is_looked_at(recipe: Recipe) -> None:
    held_out(recipe, TEA, SHORT)
    again = [("user", "Hello."), ("assistant", "Hello.")]
    given(
        recipe,
        talk(*again, ("user", SHORT), ("assistant", "6 sqrt 5")),
        talk(("user", "More."), ("assistant", f"As in this one: {TEA} That is 22."), *again),
        talk(*again, ("user", OTHER), ("assistant", "13.9")),
    )
    assert left_out(recipe) == {"in_benchmark": 1, "trace_in_benchmark": 1}
    assert Windows(store_of(recipe), "packs/only")[0].examples == ("train-0.parquet:2",)


def test_another_benchmark_trains_anew_only_where_it_takes_rows_away(recipe: Recipe) -> None:
    given(recipe, asked(TEA), asked(OTHER), asked("2 + 2?"))
    found = []
    for problems in ((TEA,), (TEA, "What is the capital of the country that Lisbon lies in, and why?"), (TEA, OTHER)):
        held_out(recipe, *problems)
        found += [(phase.meta.examples, phase.fingerprint) for phase in prepared(recipe)]
    (first, before), (second, same), (third, other) = found
    assert (first, second, third) == (2, 2, 1)
    assert before == same != other


def test_benchmarks_that_were_not_read_stop_the_training(recipe: Recipe) -> None:
    with pytest.raises(Stop, match=r"which are not read yet: run jobs\.curate first"):
        check_held_out(recipe)
    curated = steps_of(recipe).curate
    curated.begin()
    curated.finish()
    check_held_out(recipe)


def test_only_the_generations_asked_for_are_counted_and_measured(recipe: Recipe) -> None:
    given(recipe, *[asked("a", said="b" * 100)] * 3, *[asked("a", said="b" * 10, generation="short")] * 7)
    (phase,) = recipe.train.phases
    short = phase.model_copy(update={"generations": ("short",)})
    assert (wanted_rows(phase), wanted_rows(short)) == (10, 7)

    class Letters:
        """A token a letter."""

        eos_token_id, all_special_ids = 0, [0]

        def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> str:
            return "".join(one["content"] for one in conversation)

        def __call__(self, text: Any, *, add_special_tokens: bool, split_special_tokens: bool) -> Any:
            texts = [text] if isinstance(text, str) else text
            ids = [[1] * len(one) for one in texts]
            return {"input_ids": ids[0] if isinstance(text, str) else ids}

    whole, less = (mean_tokens(one, Letters(), most=1000) for one in (phase, short))
    assert whole is not None
    assert less is not None
    assert whole - less == pytest.approx(0.3 * 90)


def test_a_data_set_that_another_recipe_left_is_not_the_training_data(recipe: Recipe) -> None:
    store = store_of(recipe)
    held_out(recipe, TEA)
    store.write_table("dataset/train-00000.parquet", pa.table({"problem_id": [problem(TEA).id]}))
    assert _overlap(recipe, store) == 0
    own = recipe.train.phases[0].model_copy(update={"dataset": None, "generations": ("long",)})
    both = recipe.model_copy(update={"train": recipe.train.model_copy(update={"phases": (own, *recipe.train.phases)})})
    assert _overlap(both, store) == 1
