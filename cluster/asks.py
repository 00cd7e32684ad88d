"""What is asked of whom: the parts of a run on their way, and a generation with all that its calls depend on."""

from dataclasses import dataclass

from cluster.engine import EngineSettings
from pipeline.endpoints import EndpointSettings, TeacherSettings
from pipeline.generate import Generation, calls_for, draws_of
from pipeline.ledger import Call
from pipeline.llm_judge import is_asked, question
from pipeline.record import Problem, Trace, from_table
from pipeline.store import Store


@dataclass(frozen=True, slots=True)
class Part:
    """One shard on its way: the names of its problems and traces, and of its folder in the ledger."""

    problems: str
    ledger: str
    traces: str


@dataclass(frozen=True, slots=True)
class TeacherAt:
    """A teacher, where it is reached, and what may be spent in this run on all teachers together, USD."""

    settings: TeacherSettings
    endpoints: tuple[EndpointSettings, ...]
    budget_usd: float | None
    name: str = "teacher"


@dataclass(frozen=True, slots=True)
class ModelAt:
    """A model for vLLM: where it lies, and who it is in the ledger's keys."""

    settings: EngineSettings
    model: str
    identity: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A generation with all that its calls depend on."""

    generation: Generation
    template: str
    engine: TeacherAt | ModelAt
    seed: int
    suffix: str = ""
    """What is added to the folder of its traces, where they lie apart from those of other asks."""
    beside: "tuple[Ask, ...]" = ()
    """Further asks of the same engine, made in the same actors."""

    @property
    def every(self) -> "tuple[Ask, ...]":
        """It and those beside it."""
        return self, *self.beside

    @property
    def identity(self) -> str:
        """Who answers."""
        return self.engine.settings.identity if isinstance(self.engine, TeacherAt) else self.engine.identity

    def calls(self, problem: Problem) -> list[Call]:
        """The calls it wants for a problem."""
        return calls_for(
            problem,
            self.generation,
            template=self.template,
            identity=self.identity,
            seeded=self.seeded,
            seed=self.seed,
        )

    @property
    def seeded(self) -> bool:
        """Whether its calls send their seed."""
        return self.engine.settings.send_seed if isinstance(self.engine, TeacherAt) else True


@dataclass(frozen=True, slots=True)
class Judging:
    """A judge with all that its calls depend on, and whose answers it is asked about (JudgeSettings.asks)."""

    ask: Ask
    asks: str

    def calls(self, trace: Trace) -> list[Call]:
        """The calls that judge a verified trace; none if it is not put before the judge."""
        if not is_asked(trace, self.asks):
            return []
        ask = self.ask
        messages = question(trace, ask.template)
        return draws_of(
            trace.id, ask.generation, messages=messages, identity=ask.identity, seeded=ask.seeded, seed=ask.seed
        )


def read_kept(store: Store, name: str) -> list[Problem]:
    """The problems of a shard that no rule dropped."""
    return [problem for problem in from_table(store.read_table(name), Problem) if problem.drop is None]
