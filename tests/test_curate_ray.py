"""Curating on Ray: every stage in one run, the same problems after a kill, and nothing bought twice."""

import json
import shutil
import signal
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import alone, recipe, run, start, succeed, summary

from cluster.session import session
from jobs.curate import work
from jobs.recipe_file import load
from pipeline.errors import Stop
from pipeline.record import problem_id

pytestmark = [pytest.mark.ray, pytest.mark.beside, pytest.mark.usefixtures("shared_ray")]

TOM = "Tom picks 13 apples on Friday and 29 more on Saturday, then gives 7 of them to his sister. How many are left?"
ANN = "Ann picks 13 pears on Friday and 29 more on Saturday, then gives 7 of them to her brother. How many are left?"
OTHER = "Tom picks 14 apples on Friday and 29 more on Saturday, then gives 7 of them to his sister. How many are left?"
EASY = "A shelf holds 6 rows of 31 books each. A clerk sells 17 of the books in a week. How many books are still there?"
HARD = "A tank loses 3 litres an hour for 9 hours and then gains 4 litres an hour for 25 hours. What is the change?"
HELD_OUT = (
    "The sum of 48 consecutive odd numbers is 4704. What is the largest of these numbers, given that all exceed 2?"
)
# Two that the texts' overlap does not bring together, and the names' places do.
SOLD = (
    "In Oslo, Boris packs 52 melons into crates of 4, and Ruth sells each of them to Igor for 9 dollars. "
    "How much does Igor pay Ruth?"
)
SOLD_AGAIN = (
    "From Lima, Pedro sends 52 melons in crates of 4, and Wanda hands every crate to Alma for 9 dollars. "
    "What does Alma give Wanda?"
)
ANSWERS = {TOM: 35, ANN: 35, OTHER: 36, EASY: 169, HARD: 73, HELD_OUT: 145, SOLD_AGAIN: 117}
REPLIES = {TOM: ("35", "1"), OTHER: ("1", "36"), EASY: ("169", "169"), HARD: ("1", "2")}
DROPS = {
    TOM: None,
    ANN: "near_duplicate",
    OTHER: None,
    EASY: "too_easy",
    HARD: "too_hard",
    HELD_OUT: "in_benchmark",
    SOLD_AGAIN: "beside_benchmark",
    TOM + " See the figure below.": "image",
}


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """A recipe over three sources with different fields, a benchmark and a band of difficulty."""
    first = [{"problem": text, "answer": ANSWERS[text]} for text in (TOM, EASY, HELD_OUT, SOLD_AGAIN)]
    shown = {"problem": TOM + " See the figure below.", "answer": 35}
    second = [{"question": {"text": text}, "solution": f"... #### {ANSWERS[text]}"} for text in (ANN, HARD, TOM)]
    (tmp_path / "third").mkdir()
    third = {"messages": [{"content": OTHER}], "answer": ANSWERS[OTHER], "more": {"n": 1}}
    answered = lines(
        tmp_path / "answered.jsonl",
        *(
            {"question": text, "replies": dict(zip("ab", map(box, said), strict=True))}
            for text, said in REPLIES.items()
        ),
    )
    sources = [
        {"name": "first", "format": "jsonl", "path": str(lines(tmp_path / "first.jsonl", *first, shown))},
        {
            "name": "second",
            "format": "jsonl",
            "path": str(lines(tmp_path / "second.jsonl", *second)),
            "fields": {"prompt": "question.text", "answer": "solution"},
            "answer_regex": "#### (.+)",
        },
        {
            "name": "third",
            "format": "jsonl",
            "path": str(lines(tmp_path / "third" / "train.jsonl", third)),
            "fields": {"prompt": "messages.0.content"},
            "licence": "CC0",
        },
    ]
    held_out = lines(
        tmp_path / "held_out.jsonl", {"problem": HELD_OUT, "answer": 145}, {"problem": SOLD, "answer": 117}
    )
    return recipe(
        tmp_path,
        answered,
        sources=sources,
        evaluate={"benchmarks": {"odd": {"name": "odd", "format": "jsonl", "path": str(held_out)}}},
        difficulty={"engine": "teacher", "draws": 2, "below": 1.0, "sampling": {"max_tokens": 64}},
    )


def box(answer: str) -> str:
    return f"So it is \\boxed{{{answer}}}."


def problems(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "made" / "problems").glob("*.parquet")}


def beside(made: Path) -> list[tuple[str, str, str]]:
    """The matches of what lies beside a benchmark's problem: the benchmark, its text and ours."""
    rows = [row for path in (made / "matches").glob("beside-*") for row in pq.read_table(path).to_pylist()]
    return [
        (row["benchmark"], row["benchmark_text"], row["text"]) for row in rows if row["layer"] == "beside_benchmark"
    ]


def test_every_stage_drops_what_it_must_and_a_kill_changes_no_problem(tmp_path: Path, asked: Path) -> None:
    succeed("curate", asked)
    rows = [
        row
        for path in (tmp_path / "runs" / "made" / "problems").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert sorted((row["prompt"], row["drop"]) for row in rows if row["drop"] != "duplicate") == sorted(DROPS.items())
    rates = {row["prompt"]: (row["pass_rate"], row["pass_draws"]) for row in rows if row["pass_draws"]}
    assert rates == {TOM: (0.5, 2), OTHER: (0.5, 2), EASY: (1.0, 2), HARD: (0.0, 2)}
    by_prompt = {row["prompt"]: row for row in rows}
    assert (by_prompt[OTHER]["source"], by_prompt[OTHER]["answer"]) == ("third", "36")
    assert by_prompt[ANN]["cluster"] == by_prompt[TOM]["cluster"] != by_prompt[OTHER]["cluster"]
    told = summary(tmp_path, "curate")
    assert (told["in"], told["kept"], told["calls"]["bought"]) == (9, 2, 8)
    made = tmp_path / "runs" / "made" / "problems"
    assert {path.name for path in made.iterdir() if path.is_dir()} == {"clusters", "matches", "difficulty"}
    assert beside(made) == [("odd", SOLD, SOLD_AGAIN)]
    shown = [row for path in (made / "clusters").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert [(row["source"], row["prompt"]) for row in shown if row["cluster"] == problem_id(SOLD)] == [
        ("benchmark odd", SOLD),
        ("first", SOLD_AGAIN),
    ]
    assert {row["cluster"] for row in shown} == {by_prompt[TOM]["cluster"], problem_id(SOLD)}
    # The same row as a data set's: cut, stored and read on the cluster.
    again = (f"storage={tmp_path / 'broken'}", "sources.2.format=hf", f"sources.2.path={tmp_path / 'third'}")
    broken = start("curate", asked, *again)
    work = tmp_path / "broken" / "made" / "problems" / "work"
    while not list(work.glob("settled/*.parquet")):
        assert broken.poll() is None, broken.communicate()
        time.sleep(0.02)
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    cut = [part for source, part in json.loads((work / "slices.json").read_text()) if source == 2]
    assert [(part["start"], part["stop"], len(part["version"])) for part in cut] == [(0, 1, 32)]
    succeed("curate", asked, *again)
    assert problems(tmp_path / "broken") == problems(tmp_path / "runs")
    assert told["difficulty"] == {"measured": 4, "unmeasured": 0}
    assert beside(tmp_path / "broken" / "made" / "problems") == [("odd", SOLD, SOLD_AGAIN)]


def test_a_benchmark_without_problems_is_refused(tmp_path: Path, asked: Path) -> None:
    (tmp_path / "held_out.jsonl").write_text("")
    ended = run("curate", asked)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "error: benchmark odd has no problems: nothing could match it; give its problems or take it out"
    )


def goes_on_without_its_sources(folder: Path) -> None:
    recipe = load(str(folder / "recipe.yaml"))
    with session(recipe.cluster):
        for there in (True, False):
            # That it has too few rows is seen when every stage is done: it stops there, as a kill would.
            with pytest.raises(Stop, match=r"^source far has 1 rows and must have 2:"):
                work(recipe)
            if there:
                shutil.rmtree(folder / "rows")


def test_a_run_that_has_read_everything_goes_on_without_its_sources(tmp_path: Path) -> None:
    for name in ("far", "rows"):
        (tmp_path / name).mkdir()
    # Its files lie elsewhere, as those of a set on the Hub do: without them it is the same set, and can't be read.
    (tmp_path / "far" / "README.md").write_text("---\nconfigs:\n- {config_name: x, data_files: ../rows/*}\n---\n")
    pq.write_table(pa.table({"problem": [HELD_OUT], "answer": ["145"]}), tmp_path / "rows" / "train.parquet")
    far = {"name": "far", "format": "hf", "path": str(tmp_path / "far"), "stream": True}
    held_out = {"benchmarks": {"odd": {**far, "name": "odd"}}}
    sources, rules = [{**far, "rows": 2}], {"rules": ["duplicate"]}
    recipe(tmp_path, tmp_path / "none.jsonl", sources=sources, evaluate=held_out, curate=rules, shards=1)
    alone(goes_on_without_its_sources, tmp_path)


AGAIN = (
    "Take 48 odd numbers that follow each other and add up to 4704. Which is the greatest of them, if each is above 2?"
)
SMALLEST = (
    "Forty-eight odd numbers in a row have the sum 4704, and every one is above 2. Name the smallest that there is."
)


@pytest.mark.vllm
def test_a_held_out_problem_in_other_words_is_found_by_embedding_and_judge(tmp_path: Path, asked: Path) -> None:
    rows = [{"problem": text, "answer": answer} for text, answer in ((AGAIN, 145), (SMALLEST, 51), (EASY, 169))]
    source = {"name": "words", "format": "jsonl", "path": str(lines(tmp_path / "words.jsonl", *rows))}
    said = lines(
        tmp_path / "said.jsonl",
        {"question": f"| {AGAIN}", "replies": {"a": "Nothing differs. \\boxed{same}"}},
        {"question": f"| {SMALLEST}", "replies": {"a": "The question differs. \\boxed{different}"}},
    )
    judge = {"model": "recorded", "standin": {"answers": "replay", "path": str(said), "replies": ["replies.a"]}}
    vllm = {
        "device": "cpu",
        "dtype": "float32",
        "max_model_len": 256,
        "compile": False,
        "cpus": 0.5,
        "kv_cache_gib": 0.5,
    }
    overrides = {
        "sources": [source],
        "difficulty": None,
        "shards": 2,
        "curate.rules": ["duplicate"],
        "evaluate.teachers": {"judge": judge},
        "paraphrases": {
            "embedder": "all-MiniLM-L6-v2",
            "above": 0.6,
            "engine": "judge",
            "prompt": "pair",
            "vllm": vllm,
        },
        "prompts": {"pair": "{prompt}\n\nIs it the problem below? Box same or different.\n{solution}"},
    }
    succeed("curate", asked, *(f"{key}={json.dumps(value)}" for key, value in overrides.items()))
    made = tmp_path / "runs" / "made" / "problems"
    found = [row for path in made.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert {row["prompt"]: row["drop"] for row in found} == {AGAIN: "benchmark_paraphrase", SMALLEST: None, EASY: None}
    (match,) = [row for path in (made / "matches").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert (match["text"], match["benchmark_text"], match["benchmark"]) == (AGAIN, HELD_OUT, "odd")
    told = summary(tmp_path, "curate")
    assert (told["dropped"], told["calls"]["bought"]) == ({"benchmark_paraphrase": 1}, 2)
