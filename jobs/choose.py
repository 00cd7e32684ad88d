"""Choose what is trained on: verified traces that are fit, in the mix and number asked for, in the conversational form.

Writes dataset/ (training, validation, preference pairs, card) and choices/, where every trace that is not in it has the
reason. Quotas, a target and the difficulty mix are held exactly; what can't be met is said, with by how much.
"""

from collections.abc import Sequence

from cluster.choosing import CHOICES, Choosing, choose
from cluster.session import session
from jobs.curate import held_out
from jobs.job import Job, Plan, Summary, main, number, previous
from jobs.recipe import Recipe
from jobs.steps import Step, steps_of, store_of
from pipeline.card import card
from pipeline.choose import ChooseSettings
from pipeline.choosing.bounds import DIMENSIONS
from pipeline.choosing.example import llama_factory
from pipeline.choosing.judge import Finding
from pipeline.errors import BadRecipe
from pipeline.record import Trace


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
    )
    with session(recipe.cluster):
        _begin(steps.choose)
        figures = choose(what, held_out=held_out(recipe, store), rules=_no_rule, leaks=_no_leak)
    summary = figures.as_json()
    text = card(
        name=recipe.name,
        summary=summary,
        curated=previous(recipe, "curate"),
        distilled=previous(recipe, "distill"),
        licences=summary["licences"],
        teacher=recipe.teacher.identity if recipe.teacher else None,
    )
    store.write_bytes("dataset/README.md", text.encode())
    store.write_json("dataset/dataset_info.json", llama_factory(recipe.name))
    return summary


def _no_rule(trace: Trace, tokens: int) -> Finding:
    return None


def _no_leak(traces: Sequence[Trace]) -> Sequence[Finding]:
    return [None] * len(traces)


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
