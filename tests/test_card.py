"""The data set's card: figures against hand counts, and that no text from data can break it."""

import re
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import yaml
from made_dataset import CURATED, DISTILLED, RECIPE, made_run
from markdown_it import MarkdownIt

from pipeline.card import card, write_card
from pipeline.curate import CurateSettings
from pipeline.curate import Rule as CurateRule
from pipeline.dataset.licences import on_hub
from pipeline.dataset.made import Made
from pipeline.dataset.markdown import code, plain, table
from pipeline.dataset.reasons import REASONS
from pipeline.dataset.stages import stages
from pipeline.dataset.statistics import Statistics, statistics
from pipeline.dataset.terms import terms_of
from pipeline.rules.settings import LanguageSettings
from pipeline.store import Store
from pipeline.thoughts.settings import Rule as ThoughtRule

HOSTILE = [
    "a|b",
    "a\\|b",
    "\\",
    "`code`",
    "**bold**",
    "_it_ and __b__",
    "<script>alert(1)</script>",
    "[x](http://evil.example)",
    "![x](http://evil.example/x.png)",
    "http://evil.example www.evil.example",
    "line\nbreak\r\n\n# heading",
    "- list",
    "1. list",
    "---",
    "&amp; &#124;",
    "\x1b[31mred\x00\u202e",
    "$x$ ~~gone~~",
    "",
]


def rendered(text: str) -> str:
    """As the Hub's readers do: GitHub's Markdown with tables and bare links."""
    return str(MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(text))


def text_of(html: str) -> str:
    bare = re.sub(r"<[^>]+>", "", html)
    for entity, letter in {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}.items():
        bare = bare.replace(entity, letter)
    return bare.strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_foreign_text_reads_as_what_it_is_in_a_line_and_in_a_cell(text: str) -> None:
    shown = " ".join(re.sub(r"[\x00-\x1f\u202e]", " ", text).split())
    assert text_of(rendered(plain(text))) == shown
    html = rendered(table(("a", "b"), [(text, "end")]))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html, re.DOTALL)
    assert [text_of(cell) for cell in cells] == [shown, "end"]
    assert not re.search(r"<(a|img|script|em|strong|s|code|h1|li|hr)\b", html)


def test_a_fence_in_a_recipe_does_not_end_the_code() -> None:
    text = "prompt: |\n  ```\n  # no heading\n  ````\n"
    html = rendered(code(text, language="yaml"))
    assert html.count("<pre>") == 1
    assert "<h1>" not in html
    assert text.strip() in text_of(html)


@pytest.mark.parametrize(
    ("said", "hub"),
    [
        ("MIT", "mit"),
        ("Apache 2.0", "apache-2.0"),
        ("Apache License, Version 2.0", "apache-2.0"),
        ("CC-BY-4.0", "cc-by-4.0"),
        ("CC BY-SA 4.0", "cc-by-sa-4.0"),
        ("CC0", "cc0-1.0"),
        ("GPL-3.0-or-later", "gpl-3.0"),
        ("unknown", "unknown"),
        ("", "unknown"),
        ("our own terms: see\nthe page", "other"),
    ],
)
def test_licences_as_the_hub_names_them(said: str, hub: str) -> None:
    assert on_hub(said) == hub


def test_statistics_are_those_of_a_hand_count(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    rows = {
        "problem_id": ["a", "a", "b"],
        "source": ["x", "x", "y"],
        "subject": ["s", None, "t"],
        "thought_tokens": [10, 20, 0],
        "reply_tokens": [1, 2, 3],
        "cost_usd": [0.5, 0.25, 0.25],
        "pass_rate": [0.0, 0.5, None],
        "student_tokens": [8, 18, 4],
    }
    store.write_table("dataset/train-00000.parquet", pa.table(rows))
    # An older file, with fewer columns, and one of a step that is no data.
    store.write_table("dataset/validation-00000.parquet", pa.table({"problem_id": ["c"], "source": ["y"]}))
    store.write_table("dataset/other.parquet", pa.table({"problem_id": ["d"]}))
    store.write_table("dataset/preference/pairs-00000.parquet", pa.table({"problem_id": ["d"] * 4}))
    found = statistics(store)
    assert (found.splits, found.examples, found.pairs) == ({"train": 3, "validation": 1}, 4, 4)
    assert found.problems == 3
    assert found.counts["source"] == {"x": 2, "y": 2}
    assert found.counts["subject"] == {"s": 1, "t": 1}
    assert (found.tokens, found.tokens_by_source) == (36, {"x": 33, "y": 3})
    assert found.without_thought == 1
    assert found.cost_usd == 1.0
    assert found.percentiles("both") == [round(v) for v in np.percentile([11, 22, 3], (1, 10, 25, 50, 75, 90, 99))]
    assert found.percentiles("student")[3] == 8
    assert dict(found.bands()) == {
        "exactly 0": 1,
        "above 0, up to 0.25": 0,
        "above 0.25, up to 0.5": 1,
        "above 0.5, up to 0.75": 0,
        "above 0.75, below 1": 0,
        "exactly 1": 0,
    }


def test_the_funnel_accounts_for_every_row_and_says_so_when_it_can_not() -> None:
    chosen = {"dropped": {"wrong": 6, "enough": 1, "undecided": 1, "never": 0}}
    curate, choose = stages(CURATED, DISTILLED, chosen, examples=8)
    assert (curate.came, dict(curate.dropped), curate.kept, curate.lost) == (10, {"duplicate": 2}, 8, 0)
    assert (choose.came, choose.kept, choose.lost) == (16, 8, 0)
    assert list(choose.dropped) == ["wrong", "enough", "undecided"]
    assert stages(CURATED, DISTILLED, chosen, examples=7)[1].lost == 1


def made(**changes: Any) -> Made:
    values = {
        "recipe": RECIPE,
        "versions": {"ray": "1"},
        "commit": "abc",
        "curated": CURATED,
        "distilled": DISTILLED,
        "chosen": {"dropped": {"wrong": 7}},
    }
    return Made(**{**values, **changes})


def body(run: Made, found: Statistics | None = None) -> str:
    return card(run, found or Statistics(), [], pictures=[])


def test_front_matter_and_body_hold_with_hostile_names() -> None:
    nasty = '"]\n---\nlicense: mit\n# x | y <b>'
    found = Statistics(splits={"train": 1})
    for name in ("source", "subject", "engine", "licence", "kind"):
        found.counts[name][nasty] = 1
    sources = [{"name": nasty, "format": "jsonl", "path": nasty, "licence": nasty}]
    text = body(made(recipe={**RECIPE, "name": nasty, "sources": sources}), found)
    _, front, rest = text.split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["license"] == "other"
    assert values["pretty_name"] == '"] --- license: mit # x | y <b>'
    html = rendered(rest)
    assert "<b>" not in html
    assert not re.search(r"<p>\s*\|", html)
    headings = re.findall(r"<h1>(.*?)</h1>", html)
    assert len(headings) == 1


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_run(tmp_path_factory.mktemp("run"))


def test_no_folder_and_no_address_of_the_maker_is_told(store: Store) -> None:
    text = store.read_text("dataset/README.md")
    assert "sums.jsonl" in text
    assert "secret" not in text
    assert "https://host" not in text
    assert "abc123" in text
    assert "ray 1.2.3" in text


def test_same_rows_give_the_same_bytes(store: Store) -> None:
    root = Path(store.root)
    names = ["dataset/README.md", *store.names_below("dataset/plots")]
    assert len(names) == 5
    before = [(root / name).read_bytes() for name in names]
    write_card(store, chosen={"examples": 10, "tokens": 70, "dropped": {"wrong": 5, "enough": 1}})
    assert [(root / name).read_bytes() for name in names] == before


def test_an_empty_data_set_and_a_run_without_summaries_still_have_a_card(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_card(store, chosen={})
    text = store.read_text("dataset/README.md")
    assert "this data set is empty" in text
    assert "configs" not in yaml.safe_load(text.split("---\n")[1])


def test_decontamination_is_said_as_it_was() -> None:
    benchmarks = {"aime24": {"format": "jsonl", "path": "x"}}
    assert "any benchmark's problems may be among these" in body(made())
    off = {**RECIPE, "evaluate": {"benchmarks": benchmarks}, "curate": {"rules": ["image"]}}
    assert "switches the comparison with them off" in body(made(recipe=off))
    on = {**off, "curate": {"overlap": {"ngram": 8, "near_share": None}, "near": {"similarity": 0.4}}}
    curated = {
        **CURATED,
        "dropped": {"benchmark_ngram": 3, "beside_benchmark": 1, "near_duplicate": 2},
        "benchmarks": {"aime24": {"in": 30, "kept": 30}},
    }
    text = body(made(recipe=on, curated=curated, chosen={"dropped": {"benchmark_ngram": 5}}))
    assert re.search(r"\| aime24 \| 30 \|", text)
    assert re.search(r"\| benchmark_ngram \| .* \| 3 \| 5 \|", text)
    assert re.search(r"\| beside_benchmark \| .* \| 1 \| 0 \|", text)
    assert "ngram 8" in text
    assert "near_share" not in text.split("<details>")[0]
    assert re.search(r"\| near_duplicate \| .* \| 2 \|", text)


def test_a_row_that_went_without_a_reason_is_said() -> None:
    funnel = stages(CURATED, DISTILLED, {"dropped": {"wrong": 6, "own_rule": 1}}, examples=8)
    text = card(made(), Statistics(splits={"train": 8}), funnel, pictures=[])
    assert re.search(r"\| duplicate \| -2 \| 20.0 % \| says the same", text)
    assert "| own_rule | -1 | 6.2 % |  |" in text
    assert "| *no reason was kept* | -1 | 6.2 % |  |" in text


def test_unknown_licences_are_flagged_in_words() -> None:
    text = body(made())
    assert "the licence of source more&#124;sums is unknown" in text
    assert "Nothing is known of the licence of more&#124;sums" in text


@pytest.mark.parametrize(
    ("engine", "provider", "said"),
    [
        ("o3 @ api.openai.com", "OpenAI", "restricts"),
        ("claude @ api.anthropic.com", "Anthropic", "restricts"),
        ("gemini @ generativelanguage.googleapis.com", "Google", "restricts"),
        ('deepseek-reasoner @ api.deepseek.com {"a":1}', "DeepSeek", "permits"),
        ("deepseek-ai/DeepSeek-R1 @ my-cluster", "DeepSeek's weights", "permits"),
        ("Qwen/QwQ-32B", "QwQ's weights", "permits"),
        ("openai.com.example @ notopenai.com", None, None),
    ],
)
def test_terms_are_known_by_host_or_by_weights(engine: str, provider: str | None, said: str | None) -> None:
    known = terms_of(engine)
    assert [(terms.provider, terms.said) for terms in known] == ([(provider, said)] if provider else [])


def test_a_name_of_a_million_characters_costs_nothing() -> None:
    started = time.monotonic()
    assert len(plain("|" * 1_000_000)) < 2000
    assert len(on_hub("x" * 1_000_000)) < 10
    assert time.monotonic() - started < 0.5


def test_the_card_says_what_a_resolved_recipe_asked() -> None:
    resolved = CurateSettings(rules=("no_prompt",), language=LanguageSettings(wanted=("en",))).model_dump(mode="json")
    held = {"evaluate": {"benchmarks": {"aime24": {"format": "jsonl", "path": "/home/me/x.jsonl"}}, "draws": 3}}
    recipe = {**RECIPE, **held, "curate": resolved, "difficulty": {"engine": "teacher", "draws": 4}}
    run = made(recipe=recipe, chosen={"dropped": {"trace_in_benchmark": 17}})
    text = body(run)
    # Every setting is there, also those of rules that are not asked.
    assert "switches the comparison with them off" in text
    assert "near duplicates were not looked for" in text
    assert re.search(r"\| trace_in_benchmark \| .* \| 0 \| 17 \|", text)
    assert run.languages == ["en"]
    again = yaml.safe_load(run.deciding)
    assert again["difficulty"] == {"engine": "teacher", "draws": 4}
    assert again["evaluate"] == {"benchmarks": {"aime24": {"format": "jsonl", "path": "x.jsonl"}}}


@pytest.mark.parametrize(("unmeasured", "done"), [("keep", "kept"), ("drop", "dropped")])
def test_the_card_says_how_many_problems_could_not_be_measured(unmeasured: str, done: str) -> None:
    recipe = {**RECIPE, "difficulty": {"engine": "teacher", "draws": 4, "unmeasured": unmeasured}}
    counted = {"measured": 9, "unmeasured": 1234}
    text = body(made(recipe=recipe, curated={**CURATED, "difficulty": counted}))
    assert f"No draw of 1,234 problems could be judged; these were {done}. Settings: engine teacher" in text
    assert "could be judged" not in body(made(recipe=recipe, curated={**CURATED, "difficulty": {"unmeasured": 0}}))


def test_every_reason_of_a_rule_is_told_in_words() -> None:
    always = {"trace_in_benchmark", "too_many_of_cluster", "same_text", "enough", "over_quota", "not_needed", "no_band"}
    always |= {"unreadable", "benchmark_paraphrase", "too_easy", "too_hard", "unmeasured"}
    assert {*get_args(CurateRule), *get_args(ThoughtRule), *always} <= REASONS.keys()
