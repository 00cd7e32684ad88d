"""The data set's card: what is in it, where it comes from, what was left out, how to make it again."""

from collections.abc import Mapping
from typing import Any

import yaml


def card(
    *,
    name: str,
    summary: Mapping[str, Any],
    curated: Mapping[str, Any],
    distilled: Mapping[str, Any],
    licences: Mapping[str, int],
    teacher: str | None,
) -> str:
    """A Hugging Face dataset card, as Markdown with YAML front matter."""
    front = {
        "pretty_name": name,
        "task_categories": ["text-generation"],
        "tags": ["reasoning", "distillation", "longthought"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train-*.parquet"}]}],
    }
    sections = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n",
        f"# {name}\n",
        f"{summary['examples']:,} verified long thoughts ({summary['tokens']:,} tokens) in `messages`, with provenance "
        "columns. Made with Longthought: problems were curated, answered, verified against known answers, chosen.\n",
        f"Teacher: {teacher or 'none'}. Its terms decide what may be trained on these texts.\n",
        _table("The funnel", _funnel(curated, distilled, summary)),
        _table("Generations", {key: str(value) for key, value in summary["generations"].items()}),
        _table("Licences of the problems", {key: f"{value:,} examples" for key, value in sorted(licences.items())}),
        "## Make it again\n\n`recipe.yaml` beside this folder holds the whole recipe and the versions of what ran it:\n"
        "`python -m jobs.choose recipe.yaml` (after curate and distill) gives the same rows.\n",
    ]
    return "\n".join(section for section in sections if section)


def _funnel(curated: Mapping[str, Any], distilled: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, str]:
    lines = {"rows read": f"{curated['in']:,}"}
    lines |= {f"dropped: {key}": f"{value:,}" for key, value in curated["dropped"].items()}
    lines |= {"problems": f"{curated['kept']:,}", "traces": f"{distilled['traces']:,}"}
    lines |= {f"verdict {key}": f"{value:,}" for key, value in distilled["verdicts"].items()}
    lines |= {f"left out: {key}": f"{value:,}" for key, value in chosen["dropped"].items()}
    return lines | {"examples": f"{chosen['examples']:,}"}


def _table(title: str, lines: Mapping[str, str]) -> str:
    if not lines:
        return ""
    rows = "\n".join(f"| {key} | {value} |" for key, value in lines.items())
    return f"## {title}\n\n| | |\n|---|---|\n{rows}\n"
