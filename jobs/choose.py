"""Choose what is trained on: verified traces that are fit, in the mix and number asked for, in the conversational form.

Writes dataset/ (training, validation, preference pairs, card) and choices/, where every trace that is not in it has the
reason. Quotas, a target and the difficulty mix are held exactly; what can't be met is said, with by how much.
"""

import contextlib
from collections.abc import Iterator
from functools import partial

from cluster.choosing import CHOICES, FAILED, Choosing, choose, forget
from cluster.doing import told_rows
from jobs.curate import held_out, index_over
from jobs.job import Job, Plan, Summary, main, number, previous
from jobs.ready import connected
from jobs.recipe import Recipe
from jobs.steps import Step, steps_of, store_of
from pipeline.alike.match import recited
from pipeline.card import write_card
from pipeline.choose import ChooseSettings
from pipeline.choosing.bounds import DIMENSIONS
from pipeline.choosing.example import llama_factory
from pipeline.choosing.judge import Finding
from pipeline.errors import BadRecipe, Stop
from pipeline.prompts import needs_solution
from pipeline.record import Trace
from pipeline.thoughts.settings import ThoughtSettings
from pipeline.thoughts.thought import unfit


def plan(recipe: Recipe) -> Plan:
    """What would be kept."""
    _check(recipe)
    settings = recipe.choose
    first = {"draw": "the first drawn", "seeded": "drawn by the seed"}.get(settings.order, f"the {settings.order}")
    lines = [("keeps", f"up to {settings.per_problem} correct traces a problem and generation, {first} first")]
    lines += _asked(settings)
    if settings.validation:
        lines.append(("holds back", f"{settings.validation:.1%} of the problem clusters for validation"))
    if settings.pairs is not None:
        lines.append(("pairs", f"up to {settings.pairs.per_problem} a problem and generation, for preference training"))
    return [*lines, ("writes", "dataset/train-*.parquet and its card, dataset/README.md; choices/: why not the others")]


def work(recipe: Recipe) -> Summary:
    """Choose, unless it is done."""
    _check(recipe)
    steps = steps_of(recipe)
    if steps.choose.state() == "done":
        return previous(recipe, "choose")
    steps.choose.needs(steps.distill)
    store = store_of(recipe)
    what = Choosing(
        store=store,
        settings=recipe.choose,
        seed=recipe.seed,
        student=recipe.student.model,
        templates={
            generation.name: recipe.template(generation.train_prompt)
            for generation in recipe.distill.generations
            if generation.train_prompt is not None
        },
        name=f"{recipe.name}-choose",
        fingerprint=steps.choose.fingerprint[:12],
    )
    with connected(recipe, "choose"), explained(what):
        figures = choose(
            what,
            held_out=held_out(recipe, store),
            rules=partial(_unfit, settings=_thoughts(recipe)),
            leaks=partial(recited, index=index_over(recipe, store)),
            begin=partial(_begin, steps.choose),
        )
    told_rows("choose", {"chosen": figures.counts["examples"], **figures.dropped})
    summary = figures.as_json()
    store.write_json("dataset/dataset_info.json", llama_factory(recipe.name))
    write_card(store, chosen=summary)
    forget(store)
    return summary


@contextlib.contextmanager
def explained(what: Choosing) -> Iterator[None]:
    """Keep what was judged of each trace where a choice can't be made, and let its error say how to look at it."""
    try:
        yield
    except BadRecipe:
        raise
    except Stop as stop:
        if what.store.names(what.candidates, ".parquet") != what.store.names("traces", ".parquet"):
            # It stopped before the traces were judged.
            raise
        what.store.delete_folder(FAILED)
        what.store.copy_folder(what.candidates, FAILED)
        look = f"python -m jobs.look {what.store.root} candidates"
        raise Stop(f"{stop}; which traces are fit, and why the others are not: {look}") from stop


def _thoughts(recipe: Recipe) -> ThoughtSettings:
    """What a trace must be like; of generations that are shown a solution, that it rewrites it, and longer."""
    shown = [each.name for each in recipe.distill.generations if needs_solution(recipe.template(each.prompt))]
    settings = recipe.choose.thoughts
    return settings.model_copy(update={"rewritten": tuple(sorted({*settings.rewritten, *shown}))})


def _unfit(trace: Trace, tokens: int, *, settings: ThoughtSettings) -> Finding:
    return unfit(trace, settings, tokens=tokens)


def _begin(step: Step) -> None:
    """Make dataset/ ready for this recipe, and choices/ with it: what another recipe left there is deleted."""
    if step.state() != "begun":
        step.store.delete_folder(CHOICES)
    step.begin()


def _check(recipe: Recipe) -> None:
    """Raise BadRecipe for quotas on sources and generations that the recipe has not."""
    there = {
        "source": [source.name for source in recipe.sources],
        "generation": [generation.name for generation in recipe.distill.generations],
    }
    for dimension, names in there.items():
        for name in getattr(recipe.choose.quotas, dimension):
            if name not in names:
                raise BadRecipe(f"choose.quotas.{dimension}: no {dimension} {name!r}; there are {', '.join(names)}")


def _asked(settings: ChooseSettings) -> Plan:
    """Target, quotas and mix."""
    lines = []
    if settings.target.rows is not None:
        lines.append(("target", f"exactly {number(settings.target.rows)} examples"))
    if settings.target.tokens is not None:
        lines.append(("target", f"at most {number(settings.target.tokens)} student tokens, as near as examples allow"))
    for dimension in DIMENSIONS:
        for name, quota in getattr(settings.quotas, dimension).items():
            asked = quota.model_dump(exclude_none=True)
            lines.append((f"{dimension} {name}", ", ".join(f"{key} {value:g}" for key, value in asked.items())))
    lines += [(f"pass rate {band.name}", f"{band.share:.0%} of the examples") for band in settings.difficulty]
    return lines


JOB = Job("choose", __doc__ or "", plan, work, frozenset({"licences", "subjects", "lengths", "pass_rates"}))

if __name__ == "__main__":
    main(JOB)
