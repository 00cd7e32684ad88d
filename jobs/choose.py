"""Choose what is trained on: up to k correct traces a problem, in the conversational format, with provenance."""

from collections import Counter
from dataclasses import dataclass, field

from cluster.each import each
from cluster.session import session
from jobs.curate import held_out
from jobs.job import Job, Plan, Summary, main, previous
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of
from pipeline.card import write_card
from pipeline.choose import choose, examples
from pipeline.record import Trace, from_table
from pipeline.store import Store


@dataclass
class Chosen:
    """What became of the traces of a shard, or of all."""

    examples: int = 0
    tokens: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    generations: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Chosen") -> None:
        """Count another shard in."""
        self.examples += other.examples
        self.tokens += other.tokens
        self.dropped += other.dropped
        self.generations += other.generations
        self.licences += other.licences


def plan(recipe: Recipe) -> Plan:
    """What would be kept."""
    settings = recipe.choose
    return [
        ("keeps", f"up to {settings.per_problem} correct traces a problem and generation, by {settings.order}"),
        ("writes", "dataset/train-*.parquet and its card, dataset/README.md"),
    ]


def work(recipe: Recipe) -> Summary:
    """Choose, unless it is done."""
    steps = steps_of(recipe)
    if steps.choose.state() == "done":
        return previous(recipe, "choose")
    steps.choose.needs(steps.distill)
    store = store_of(recipe)
    chosen = Chosen()
    with session(recipe.cluster):
        steps.choose.begin()
        benchmark = held_out(recipe, store)

        def one(name: str) -> Chosen:
            return _choose(name, recipe=recipe, store=store, benchmark=benchmark)

        for found in each(store.names("traces", ".parquet"), one, name=f"{recipe.name}-choose"):
            chosen.add(found)
    summary = {
        "examples": chosen.examples,
        "tokens": chosen.tokens,
        "dropped": dict(sorted(chosen.dropped.items())),
        "generations": dict(sorted(chosen.generations.items())),
    }
    write_card(store, chosen=summary)
    return summary


def _choose(name: str, *, recipe: Recipe, store: Store, benchmark: frozenset[str]) -> Chosen:
    traces = from_table(store.read_table(f"traces/{name}"), Trace)
    templates = {
        generation.name: recipe.template(generation.train_prompt)
        for generation in recipe.distill.generations
        if generation.train_prompt is not None
    }
    choices = choose(traces, settings=recipe.choose, held_out=benchmark)
    table = examples(choices, templates=templates)
    if table.num_rows:
        store.write_table(f"dataset/{name.replace('shard-', 'train-')}", table)
    kept = [choice.trace for choice in choices if choice.drop is None]
    return Chosen(
        examples=len(kept),
        tokens=sum(trace.thought_tokens + trace.reply_tokens for trace in kept),
        dropped=Counter(choice.drop for choice in choices if choice.drop is not None),
        generations=Counter(trace.generation for trace in kept),
        licences=Counter(trace.licence for trace in kept),
    )


JOB = Job("choose", __doc__ or "", plan, work)

if __name__ == "__main__":
    main(JOB)
