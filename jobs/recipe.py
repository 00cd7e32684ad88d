"""The recipe: one YAML file, checked in full before anything starts."""

import difflib
import re
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from cluster.session import ClusterSettings
from cluster.stream import StreamSettings
from cluster.train import TrainSettings
from jobs.sections import DistillSettings, EstimateSettings, EvaluateSettings, StudentSettings
from pipeline.choose import ChooseSettings
from pipeline.curate import CurateSettings
from pipeline.endpoints import TeacherSettings
from pipeline.errors import BadRecipe
from pipeline.generate import Generation
from pipeline.llm_judge import JudgeSettings
from pipeline.prompts import JUDGING, PROMPTS, check_template, is_judging
from pipeline.settings import Settings
from pipeline.sources import FileSource, GymSource, HfSource, Source
from pipeline.verify import VerifySettings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OWN_NAMES = ("base", "student", "teacher")
_TAGS = {"jsonl": FileSource, "parquet": FileSource, "hf": HfSource, "reasoning_gym": GymSource}


class Recipe(Settings):
    """All of a run."""

    operational: ClassVar[frozenset[str]] = frozenset({"storage", "cluster", "stream", "estimate", "budget_usd"})

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The run's name: its folder below storage."""
    storage: str = "runs"
    """A folder or a URI (s3://, gs://) that every node can reach."""
    seed: int = Field(default=0, ge=0)
    """The seed of everything that is drawn."""
    shards: int = Field(default=64, gt=0)
    """Parts that the problems are split into; the unit of work, so at least a few for each actor."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """Where problems come from; of equal prompts the first source's stays."""
    curate: CurateSettings = CurateSettings()
    """Which problems are kept."""
    prompts: dict[str, str] = {}
    """Further prompts by name, over {prompt} and {solution}; a judge's over {prompt}, {answer} and {reply}."""
    teacher: TeacherSettings | None = None
    """Who is asked for long thoughts."""
    budget_usd: float | None = Field(default=None, gt=0)
    """The most that this run may spend on the teacher, USD, over all its commands; none means no ceiling."""
    student: StudentSettings
    """Who is trained."""
    distill: DistillSettings
    """Which traces are made."""
    verify: VerifySettings = VerifySettings()
    """How they are judged."""
    judge: JudgeSettings | None = None
    """An LLM that judges where no rule can: problems of kind judge need it."""
    choose: ChooseSettings = ChooseSettings()
    """Which are trained on."""
    train: TrainSettings
    """How the student is trained."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """What it is measured on."""
    cluster: ClusterSettings = ClusterSettings()
    """Which Ray the jobs run on."""
    stream: StreamSettings = StreamSettings()
    """What generate and verify take of the cluster."""
    estimate: EstimateSettings = EstimateSettings()
    """What --dry-run can't know."""

    @field_validator("prompts")
    @classmethod
    def _templates(cls, prompts: dict[str, str]) -> dict[str, str]:
        for name, template in prompts.items():
            check_template(name, template)
        return prompts

    @model_validator(mode="after")
    def _names_fit(self) -> "Recipe":
        names = [generation.name for generation in self.distill.generations]
        if len(set(names)) < len(names):
            raise ValueError(f"distill.generations: names must differ, got {', '.join(names)}")
        for generation in self.distill.generations:
            self._needs_prompt(f"distill.generations.{generation.name}.prompt", generation.prompt)
            if generation.train_prompt is not None:
                self._needs_prompt(f"distill.generations.{generation.name}.train_prompt", generation.train_prompt)
            if generation.engine == "teacher" and self.teacher is None:
                raise ValueError(f"distill.generations.{generation.name} asks the teacher: add a teacher section")
            self._truncation_fits(generation)
        self._needs_prompt("evaluate.prompt", self.evaluate.prompt)
        self._teachers_fit()
        self._judge_fits()
        self._budgets_fit()
        self._ks_fit()
        phases = [phase.name for phase in self.train.phases]
        if len(set(phases)) < len(phases):
            raise ValueError(f"train.phases: names must differ, got {', '.join(phases)}")
        for phase in self.train.phases:
            for name in phase.generations:
                if name not in names:
                    raise ValueError(f"train.phases.{phase.name}: no generation {name!r}; there are {', '.join(names)}")
        return self

    def _teachers_fit(self) -> None:
        for name in self.evaluate.teachers:
            if not _NAME.fullmatch(name) or name in _OWN_NAMES:
                raise ValueError(
                    f"evaluate.teachers: {name!r} can't be a name: use letters, digits, dots and dashes, "
                    f"and none of {', '.join(_OWN_NAMES)}"
                )
        for name, teacher in self.teachers.items():
            where = "teacher" if name == "teacher" else f"evaluate.teachers.{name}"
            if self.budget_usd is not None and not teacher.priced:
                prices = f"{where}.prompt_usd_per_mtok and completion_usd_per_mtok"
                raise ValueError(f"budget_usd needs the teacher's prices: set {prices}")
        if len(set(self.evaluate.models)) < len(self.evaluate.models):
            raise ValueError(f"evaluate.models: names must differ, got {', '.join(self.evaluate.models)}")
        for name in self.evaluate.models:
            if name == "teacher" and self.teacher is None:
                raise ValueError("evaluate.models names the teacher: add a teacher section")
            if name not in ("base", "student", *self.teachers):
                known = ", ".join(("base", "student", *self.teachers))
                raise ValueError(f"evaluate.models: nobody is called {name!r}; there are {known}")

    def _judge_fits(self) -> None:
        if self.judge is None:
            for source in (*self.sources, *self.evaluate.benchmarks.values()):
                if source.kind == "judge":
                    raise ValueError(f"source {source.name} is of kind judge: add a judge section that says who judges")
            return
        if self.judge.engine not in self.teachers:
            known = ", ".join(self.teachers) or "none: add a teacher section"
            raise ValueError(f"judge.engine: no teacher is called {self.judge.engine!r}; there are {known}")
        self._needs_prompt("judge.prompt", self.judge.prompt, judging=True)

    def _budgets_fit(self) -> None:
        budgets, most = self.evaluate.thought_budgets, self.evaluate.sampling.max_tokens
        if len(set(budgets)) < len(budgets):
            raise ValueError(f"evaluate.thought_budgets: {', '.join(map(str, budgets))} must all differ")
        for tokens in budgets:
            if not 0 < tokens < most:
                right = f"must be above 0 and below sampling.max_tokens={most}"
                raise ValueError(f"evaluate.thought_budgets: {tokens} {right}")

    def _ks_fit(self) -> None:
        ks, draws = self.evaluate.k, self.evaluate.draws
        if len(set(ks)) < len(ks):
            raise ValueError(f"evaluate.k: {', '.join(map(str, ks))} must all differ")
        for k in ks:
            if k < 1:
                raise ValueError(f"evaluate.k: pass@{k} means nothing: k must be 1 or more")
            if k > draws:
                raise ValueError(f"evaluate.k: pass@{k} needs {k} draws, evaluate.draws is {draws}")

    def _truncation_fits(self, generation: Generation) -> None:
        where, policy = f"distill.generations.{generation.name}.truncated", generation.truncated
        unable = generation.engine == "teacher" and (self.teacher is None or self.teacher.continues == "no")
        if policy.policy in ("continue", "force") and unable:
            fix = "needs teacher.continues (how the endpoint goes on from a prefix)"
            raise ValueError(f"{where}: {policy.policy} {fix}")
        raised = policy.max_tokens if policy.policy == "raise" else None
        if raised is not None and raised <= generation.sampling.max_tokens:
            raise ValueError(f"{where}.max_tokens={policy.max_tokens} must be above sampling.max_tokens")

    def _needs_prompt(self, where: str, name: str, *, judging: bool = False) -> None:
        known = [each for each, text in self._prompts.items() if is_judging(text) == judging]
        if name not in known:
            what = "judge's prompt" if judging else "prompt"
            raise ValueError(f"{where}: no {what} {name!r}; there are {', '.join(known)}")

    @property
    def _prompts(self) -> dict[str, str]:
        return {**PROMPTS, **JUDGING, **self.prompts}

    @property
    def teachers(self) -> dict[str, TeacherSettings]:
        """Everyone who can be asked over an API, by name."""
        return {"teacher": self.teacher, **self.evaluate.teachers} if self.teacher else dict(self.evaluate.teachers)

    def template(self, name: str) -> str:
        """The prompt's text by its name."""
        return self._prompts[name]


def load(path: str, overrides: list[str] | None = None) -> Recipe:
    """The recipe of a file with `key=value` overrides. Raises BadRecipe with one line that says what would be right."""
    values = _read(Path(path))
    for override in overrides or []:
        _override(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise BadRecipe(f"{path}: {_line(error)}") from error


def _read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise BadRecipe(f"no recipe {path}") from error
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        where = getattr(error, "problem_mark", None)
        at = f" line {where.line + 1}" if where else ""
        raise BadRecipe(f"{path}{at} is not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(values, dict):
        raise BadRecipe(f"{path} is no recipe: it must be a YAML mapping that starts with name: ...")
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise BadRecipe(f"{path}: extends={base!r} must name one other recipe, relative to this one")
    if path.resolve() in seen:
        raise BadRecipe(f"{path}: extends goes round in a circle")
    return _merged(_read(path.parent / base, (*seen, path.resolve())), values)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        # An empty mapping means "none of those", not "as before".
        both = isinstance(value, dict) and value and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise BadRecipe(f"{override!r} is no override: write key=value, such as train.lr=1e-5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadRecipe(f"{override!r}: the value is not YAML") from error
    *path, last = key.split(".")
    at: Any = values
    for name in path:
        at = _into(at, name, key)
    if isinstance(at, list):
        _into(at, last, key)
        at[int(last)] = value
    elif isinstance(at, dict):
        at[last] = value
    else:
        raise BadRecipe(f"{key}: {'.'.join(path)} is a value, there is nothing below it")


def _into(at: Any, name: str, key: str) -> Any:
    if isinstance(at, list):
        if not name.isdigit() or int(name) >= len(at):
            raise BadRecipe(f"{key}: {name!r} is no place in a list of {len(at)}; count from 0")
        return at[int(name)]
    if not isinstance(at, dict):
        raise BadRecipe(f"{key}: there is nothing below {name!r}")
    if at.get(name) is None:
        at[name] = {}
    return at[name]


def _line(error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    # The tag of a union's member is no key of the file.
    key = ".".join(part for place, part in enumerate(path) if part not in _TAGS or place == len(path) - 1)
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}{_suggestion(path, key)}"
    if first["type"] == "missing":
        return f"{key} is missing: {_meaning(path)}"
    if first["type"] == "union_tag_not_found" or (first["type"] == "model_attributes_type" and first["input"] is None):
        ready = ", or ready: NAME" if path[:2] == ["evaluate", "benchmarks"] else ""
        return f"{key}: format is missing: {', '.join(_TAGS)}{ready}"
    said = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if not key:
        return said
    # A key or an address with a password in it must not be shown back.
    shown = "" if any(word in first["msg"] + key for word in ("key", "base_url")) else f"={first['input']!r:.60}"
    return f"{key}{shown}: {said[0].lower()}{said[1:]}"


def _suggestion(path: list[str], key: str) -> str:
    fields = _fields_at(path[:-1])
    close = difflib.get_close_matches(path[-1], fields, n=1)
    if close:
        return f"; did you mean {key.removesuffix(path[-1])}{close[0]}?"
    return f"; there are {', '.join(fields)}" if fields else ""


def _meaning(path: list[str]) -> str:
    field = _fields_at(path[:-1]).get(path[-1])
    return field.description if field is not None and field.description else "it has no default"


def _fields_at(path: list[str]) -> dict[str, Any]:
    model: Any = Recipe
    for name in path:
        fields = getattr(model, "model_fields", {})
        if name in _TAGS:
            model = _TAGS[name]
        elif name in fields:
            model = _inner(fields[name].annotation)
    return dict(getattr(model, "model_fields", {}))


def _inner(annotation: Any) -> Any:
    """The settings class inside tuple[X, ...], X | None or a plain X."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner(argument)
        if found is not None:
            return found
    return None
