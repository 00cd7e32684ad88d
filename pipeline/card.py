"""The data set's card: what is in it, where it comes from, what was left out, how to make it again.

In: what the steps left (recipe.yaml, summary/*.json, the data set's own files). Out: dataset/plots/*.png, then
dataset/README.md, a Hugging Face dataset card. Summaries may lack keys; text that comes from data is escaped.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from pipeline.dataset import sections
from pipeline.dataset.licences import on_hub
from pipeline.dataset.made import Made, made
from pipeline.dataset.markdown import flat, words
from pipeline.dataset.plots import plots
from pipeline.dataset.stages import Stage, stages
from pipeline.dataset.statistics import SPLITS, Statistics, statistics
from pipeline.store import Store

_SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))
_LARGER = (("1M<n<10M", 10_000_000), ("10M<n<100M", 100_000_000), ("100M<n<1B", 1_000_000_000))
_LANGUAGE = re.compile(r"[a-z]{2,3}")


def write_card(store: Store, *, chosen: Mapping[str, Any]) -> None:
    """Write the card and its plots into a run's dataset folder, once all data files lie there.

    `chosen` is the summary that choose is about to write; recipe.yaml and the other summaries are read from the run.
    """
    run = made(store, chosen)
    found = statistics(store)
    funnel = stages(run.curated, run.distilled, run.chosen, examples=found.examples)
    pictures = plots(found, funnel)
    for name, picture in pictures.items():
        store.write_bytes(f"dataset/plots/{name}", picture)
    text = card(run, found, funnel, pictures=sorted(pictures))
    store.write_bytes("dataset/README.md", text.encode())


def card(run: Made, found: Statistics, funnel: Sequence[Stage], *, pictures: Sequence[str]) -> str:
    """A Hugging Face dataset card: YAML front matter, then Markdown. `pictures` are the names of files in plots/."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", run.name) or "data"
    body = (
        environment()
        .get_template("card.md.j2")
        .render(
            name=run.name,
            code_name=Markup(name),
            repo=Markup(f"OWNER/{name}"),
            pictures=pictures,
            standin=run.standin,
            pairs=found.pairs,
            student=Markup(
                re.sub(r"[^A-Za-z0-9._/-]", "-", Path(run.student).name if run.local_student else run.student)
            ),
            **sections.about(run, found),
            **sections.contents(run, found, funnel),
            **sections.origins(run, found),
            **sections.again(run),
        )
    )
    front = yaml.safe_dump(_front(run, found), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{front}---\n\n{body}"


def _front(run: Made, found: Statistics) -> dict[str, Any]:
    licences = sorted({on_hub(licence) for licence in found.counts["licence"] or run.licences.values()})
    languages = [code for code in run.languages if _LANGUAGE.fullmatch(code)]
    front = {
        "pretty_name": flat(run.name),
        "license": licences[0] if len(licences) == 1 else licences,
        "language": languages,
        "task_categories": ["text-generation"],
        "tags": [
            "reasoning",
            "distillation",
            "synthetic",
            "chain-of-thought",
            *sorted(map(flat, found.counts["kind"])),
            "longthought",
        ],
        "size_categories": [_size(found.examples)],
        "configs": _configs(found),
    }
    return {key: value for key, value in front.items() if value}


def _configs(found: Statistics) -> list[dict[str, Any]]:
    configs: list[dict[str, Any]] = []
    splits = [{"split": split, "path": f"{split}-*.parquet"} for split in SPLITS if found.splits.get(split)]
    if splits:
        configs.append({"config_name": "default", "default": True, "data_files": splits})
    if found.pairs:
        files = [{"split": "train", "path": "preference/pairs-*.parquet"}]
        configs.append({"config_name": "preference", "data_files": files})
    return configs


def _size(examples: int) -> str:
    return next((name for name, below in (*_SIZES, *_LARGER) if examples < below), "n>1T")


def environment() -> Environment:
    """Where the cards' templates are found and filled in."""
    # Not HTML: what is put in is escaped for Markdown, unless it is Markdown that was made here.
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        finalize=words,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
