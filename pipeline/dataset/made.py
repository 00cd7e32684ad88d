"""What a run says of how its data set was made: its recipe, with versions and commit, and its summaries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

import yaml

from pipeline.store import Store

_DECIDING = (
    "name",
    "seed",
    "shards",
    "sources",
    "curate",
    "paraphrases",
    "difficulty",
    "evaluate",
    "prompts",
    "teacher",
    "distill",
    "verify",
    "judge",
    "choose",
)
_OF_A_TEACHER = ("model", "served_by", "send_seed", "max_tokens_field", "extra_body", "standin")
_PATHS = frozenset({"path", "embedder"})


@dataclass(frozen=True)
class Made:
    """The recipe as a mapping, what ran it, and the summaries of the steps; any of them may be empty."""

    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    commit: str
    curated: Mapping[str, Any]
    distilled: Mapping[str, Any]
    chosen: Mapping[str, Any]
    columns: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.recipe.get("name", "a data set"))

    @property
    def sources(self) -> list[Mapping[str, Any]]:
        """The sources, in the order of who stays."""
        return list(self.recipe.get("sources") or ())

    @property
    def licences(self) -> dict[str, str]:
        """Each source's licence."""
        return {str(source.get("name")): str(source.get("licence") or "unknown") for source in self.sources}

    @property
    def benchmarks(self) -> Mapping[str, Mapping[str, Any]]:
        """The benchmarks that were held out."""
        return self.section("evaluate").get("benchmarks") or {}

    @property
    def outside(self) -> dict[str, str]:
        """The licence of each data set from outside that it was trained on as it came, by the data set's name.

        Of several folders of one name whose licences differ it is unknown.
        """
        found: dict[str, str] = {}
        for phase in self._phases:
            if phase.get("dataset"):
                name, licence = folder_name(phase["dataset"]), str(phase.get("licence") or "unknown")
                found[name] = licence if found.get(name, licence) == licence else "unknown"
        return dict(sorted(found.items()))

    @property
    def trains_on_own(self) -> bool:
        """Whether a phase, if any is known, was trained on the run's own data set."""
        return not self._phases or any(not phase.get("dataset") for phase in self._phases)

    @property
    def _phases(self) -> Sequence[Mapping[str, Any]]:
        return self.section("train").get("phases") or ()

    @property
    def student(self) -> str:
        """The model that the recipe trains."""
        return str(self.section("student").get("model") or "STUDENT")

    @property
    def local_student(self) -> bool:
        """Whether that is a folder, whose path is nobody else's business."""
        return self.student.startswith(("/", ".", "~")) or "://" in self.student

    @property
    def standin(self) -> bool:
        """Whether the teacher was the stand-in."""
        return bool(self.section("teacher").get("standin"))

    @property
    def priced(self) -> bool:
        """Whether the recipe says what a token of the teacher costs."""
        teacher = self.section("teacher")
        return teacher.get("completion_usd_per_mtok") is not None and teacher.get("prompt_usd_per_mtok") is not None

    @property
    def languages(self) -> list[str]:
        """The languages that problems were kept in, as codes; empty where any was."""
        found = _mapping(self.section("curate").get("language")).get("wanted") or ()
        return [str(code) for code in found]

    @cached_property
    def deciding(self) -> str:
        """The part of the recipe that decides what is in the data, as YAML: no storage, no addresses, no folders."""
        kept = {name: self.recipe[name] for name in _DECIDING if self.recipe.get(name) is not None}
        if teacher := kept.get("teacher"):
            kept["teacher"] = {name: teacher[name] for name in _OF_A_TEACHER if name in teacher}
        if self.benchmarks:
            kept["evaluate"] = {"benchmarks": self.benchmarks}
        else:
            kept.pop("evaluate", None)
        return yaml.safe_dump(_short(kept), sort_keys=False, allow_unicode=True, width=110)

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of the recipe; empty if it has none."""
        found = self.recipe.get(name)
        return found if isinstance(found, Mapping) else {}


def folder_name(place: object) -> str:
    """The last part of a folder or URI: what is before it, and a URI's options, are its owner's business."""
    return PurePath(str(place).partition("?")[0]).name


def made(store: Store, chosen: Mapping[str, Any]) -> Made:
    """Read recipe.yaml and the summaries of curate and distill; `chosen` is what choose came to."""
    text = store.read_text("recipe.yaml") if store.exists("recipe.yaml") else ""
    note = "\n".join(line[2:] for line in text.splitlines() if line.startswith("# "))
    about = _mapping(yaml.safe_load(note))
    return Made(
        recipe=_mapping(yaml.safe_load(text)),
        versions=_mapping(about.get("versions")),
        commit=str(about.get("longthought", "unknown commit")),
        curated=_summary(store, "curate"),
        distilled=_summary(store, "distill"),
        chosen=chosen,
        columns=_columns(store),
    )


def _columns(store: Store) -> list[str]:
    names = [name for name in store.names("dataset", ".parquet") if name.startswith("train-")]
    return store.columns(f"dataset/{names[0]}") if names else []


def _summary(store: Store, name: str) -> Mapping[str, Any]:
    where = f"summary/{name}.json"
    return _mapping(store.read_json(where)) if store.exists(where) else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(value: Any, key: str = "") -> Any:
    """A recipe's values without what is empty; of a path only its last part, for folders may tell of a person."""
    if isinstance(value, Mapping):
        short = {name: _short(inner, name) for name, inner in value.items()}
        return {name: inner for name, inner in short.items() if inner not in (None, [], {})}
    if isinstance(value, list | tuple):
        return [_short(inner, key) for inner in value]
    if key in _PATHS and isinstance(value, str) and value.startswith(("/", "~", "..")):
        return PurePath(value).name
    return value
