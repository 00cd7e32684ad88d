"""Write report.html: one self-contained page with the funnel, the scores, the loss, traces to read and the cost."""

from typing import Any

from jobs.job import Job, Plan, Summary, main, previous
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of
from pipeline.bought import bought
from pipeline.doubts import Doubts, look
from pipeline.record import Trace, from_table
from pipeline.report import page
from pipeline.store import Store

_TRACES_SHOWN = 2
_DISAGREEMENTS_SHOWN = 20


def plan(recipe: Recipe) -> Plan:
    """What would be written."""
    return [("writes", store_of(recipe).address("report.html"))]


def work(recipe: Recipe) -> Summary:
    """Write the page from what the other steps left."""
    store = store_of(recipe)
    steps = steps_of(recipe)
    done = (steps.curate, steps.distill, steps.choose, steps.train, steps.evaluate)
    summaries = {step.name: previous(recipe, step.name) for step in done if step.state() == "done"}
    folders = _folders(summaries.get("evaluate"))
    html = page(
        name=recipe.name,
        summaries=summaries,
        histories=_histories(store, summaries.get("train")),
        traces=_examples(store, folders),
        recipe=store.read_text("recipe.yaml"),
        standin=any(teacher.standin is not None for teacher in recipe.teachers.values()),
        bought=bought(store),
        doubts=_doubts(store, folders),
    )
    store.write_bytes("report.html", html.encode())
    return {"steps": list(summaries), "report": store.address("report.html")}


def _histories(store: Store, trained: dict[str, Any] | None) -> dict[str, list[float]]:
    if trained is None:
        return {}
    return {phase["name"]: phase["losses"] for phase in trained["phases"]}


def _folders(evaluated: dict[str, Any] | None) -> dict[str, str]:
    """Where traces lie: of the training data, and of every measured model."""
    models = evaluated["models"] if evaluated else {}
    return {"distill": "traces"} | {
        f"{benchmark}, {model}": f"scores/{benchmark}/{model}"
        for model, benchmarks in models.items()
        for benchmark in benchmarks
    }


def _doubts(store: Store, folders: dict[str, str]) -> Doubts:
    doubts = Doubts()
    for title, folder in folders.items():
        look(store, folder, doubts, where=title, most=_DISAGREEMENTS_SHOWN)
    return doubts


def _examples(store: Store, folders: dict[str, str]) -> list[tuple[str, Trace]]:
    """A few traces to read: of every generation, and of every measured model."""
    return [(title, trace) for title, folder in folders.items() for trace in _first(store, folder)]


def _first(store: Store, folder: str) -> list[Trace]:
    """The first traces of a folder, one for each generation and verdict."""
    for name in store.names(folder, ".parquet"):
        found: dict[tuple[str, str | None], Trace] = {}
        for trace in from_table(store.read_table(f"{folder}/{name}"), Trace):
            found.setdefault((trace.generation, trace.verdict), trace)
        if found:
            return list(found.values())[: 2 * _TRACES_SHOWN]
    return []


JOB = Job("report", __doc__ or "", plan, work)

if __name__ == "__main__":
    main(JOB)
