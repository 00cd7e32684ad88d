"""The recipe: one YAML file, checked in full before anything starts."""

from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from cluster.session import ClusterSettings
from cluster.stream import StreamSettings
from jobs.recipe_checks import check_names
from jobs.sections import DistillSettings, EstimateSettings, EvaluateSettings, ParaphrasesSettings, StudentSettings
from pipeline.choose import ChooseSettings
from pipeline.curate import CurateSettings
from pipeline.difficulty import DifficultySettings
from pipeline.endpoints import TeacherSettings
from pipeline.llm_judge import JudgeSettings
from pipeline.prompts import JUDGING, PROMPTS, check_template
from pipeline.settings import FolderName, Settings
from pipeline.sources import Source
from pipeline.training.settings import TrainSettings
from pipeline.verify import VerifySettings


class Recipe(Settings):
    """All of a run."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"storage", "shares", "cluster", "stream", "estimate", "budget_usd"}
    )

    name: FolderName
    """The run's name: its folder below storage."""
    storage: str = "runs"
    """A folder or a URI (s3://, gs://) that every node can reach."""
    shares: str | None = None
    """Another run's folder, whose problems, traces and ledger this one uses; none has its own. jobs.compare sets it."""
    seed: int = Field(default=0, ge=0)
    """The seed of everything that is drawn."""
    shards: int = Field(default=64, gt=0)
    """Parts that the problems are split into; the unit of work, so at least a few for each actor."""
    sources: tuple[Source, ...] = ()
    """Where problems come from; of equal prompts the first source's stays. None where every phase has a dataset."""
    curate: CurateSettings = CurateSettings()
    """Which problems are kept."""
    paraphrases: ParaphrasesSettings | None = None
    """Look for benchmark problems in other words too, by an embedding model and a judge; none does not."""
    difficulty: DifficultySettings | None = None
    """Measure how hard problems are for a model, and keep a band; none does not."""
    prompts: dict[str, str] = {}
    """Further prompts by name, over {prompt} and {solution}; a judge's over {prompt}, {answer} and {reply}."""
    teacher: TeacherSettings | None = None
    """Who is asked for long thoughts."""
    budget_usd: float | None = Field(default=None, gt=0)
    """The most that this run may spend on the teacher, USD, over all its commands; none means no ceiling."""
    student: StudentSettings
    """Who is trained."""
    distill: DistillSettings = DistillSettings()
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
    def _all_fits(self) -> "Recipe":
        check_names(self)
        return self

    @property
    def all_prompts(self) -> dict[str, str]:
        """Every prompt by name, the recipe's own over those that ship."""
        return {**PROMPTS, **JUDGING, **self.prompts}

    @property
    def teachers(self) -> dict[str, TeacherSettings]:
        """Everyone who can be asked over an API, by name."""
        return {"teacher": self.teacher, **self.evaluate.teachers} if self.teacher else dict(self.evaluate.teachers)

    @property
    def makes_traces(self) -> bool:
        """Whether it makes what it trains on, or trains on data sets of others alone."""
        return bool(self.sources)

    @property
    def training_seed(self) -> int:
        """The seed of packing and of the order of windows."""
        return self.seed if self.train.seed is None else self.train.seed

    def template(self, name: str) -> str:
        """The prompt's text by its name."""
        return self.all_prompts[name]
