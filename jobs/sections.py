"""The sections of a recipe that belong to one job, or say what a dry run reckons with."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from cluster.engine import EngineSettings
from pipeline.alike.paraphrases import ParaphraseSettings
from pipeline.benchmarks import written_out
from pipeline.endpoints import TeacherSettings
from pipeline.generate import Generation, Sampling
from pipeline.settings import Settings
from pipeline.sources import Source


class StudentSettings(Settings):
    """The model that is trained."""

    model: str
    """A Hugging Face name, a folder, or a shipped model (SmolLM2-135M-Instruct)."""
    engine: EngineSettings = EngineSettings()
    """How vLLM runs it, for its own traces and for its scores."""


class ParaphrasesSettings(ParaphraseSettings):
    """How rewritten held-out problems are looked for, and what the embedding model runs on."""

    vllm: EngineSettings = EngineSettings(max_model_len=256)
    """How vLLM runs the embedding model; longer texts are cut at max_model_len tokens."""


class DistillSettings(Settings):
    """Which traces are made."""

    generations: tuple[Generation, ...] = ()
    """Ways of getting traces; all of a problem's lie in one shard. None where every phase has a dataset."""


class EvaluateSettings(Settings):
    """What the student is measured on."""

    benchmarks: dict[str, Annotated[Source, BeforeValidator(written_out)]] = {}
    """Name -> held-out problems; none of them may be trained on. Each is a source like those of `sources`, or a ready
    one: `aime24: {ready: aime24}` reads it from the Hub, `{ready: aime24, path: data/aime24.jsonl}` from its
    publisher's file. Ready are aime24, aime25, math500, gsm8k and math2024 (a file only); any of their keys
    can be set anew."""
    models: tuple[str, ...] = ("base", "student")
    """Who is measured: base and student (before and after training), teacher, and names of `teachers`."""
    teachers: dict[str, TeacherSettings] = {}
    """Name -> a further endpoint with its own key, prices and limits: to be measured beside the others, or to judge."""
    prompt: str = "solve"
    """The prompt's name."""
    draws: int = Field(default=1, gt=0)
    """Answers for each problem."""
    k: tuple[int, ...] = ()
    """pass@k and maj@k are given for these; none: the powers of two up to draws."""
    sampling: Sampling = Sampling(max_tokens=32768)
    """How they are drawn."""
    thought_budgets: tuple[int, ...] = ()
    """Tokens after which a thought is cut and an answer forced (s1's budget forcing): each makes a score of its own,
    such as student@512, for base, student, and teachers whose `continues` says how they go on from a prefix."""
    answer_tokens: int = Field(default=512, gt=0)
    """The most tokens of an answer that is forced after a budget."""


class EstimateSettings(Settings):
    """What --dry-run can't know; used for its figures alone."""

    prompt_tokens: int = Field(default=300, gt=0)
    """Tokens of a prompt."""
    problems: int | None = Field(default=None, gt=0)
    """Problems after curation; none counts the sources' rows."""
    correct: float = Field(default=1.0, ge=0, le=1)
    """The share of traces that verify."""
    trace_tokens: int | None = Field(default=None, gt=0)
    """Tokens of a kept trace; none takes the most a draw may have."""
