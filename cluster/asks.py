"""What is asked of whom: the parts of a run on their way, and a generation with all that its calls depend on."""

from dataclasses import dataclass

from cluster.engine import EngineSettings
from pipeline.endpoints import EndpointSettings, TeacherSettings
from pipeline.generate import Generation, calls_for
from pipeline.ledger import Call
from pipeline.record import Problem, from_table
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

    @property
    def identity(self) -> str:
        """Who answers."""
        return self.engine.settings.identity if isinstance(self.engine, TeacherAt) else self.engine.identity

    def calls(self, problem: Problem) -> list[Call]:
        """The calls it wants for a problem."""
        seeded = self.engine.settings.send_seed if isinstance(self.engine, TeacherAt) else True
        return calls_for(
            problem,
            self.generation,
            template=self.template,
            identity=self.identity,
            seeded=seeded,
            seed=self.seed,
        )


def read_kept(store: Store, name: str) -> list[Problem]:
    """The problems of a shard that no rule dropped."""
    return [problem for problem in from_table(store.read_table(name), Problem) if problem.drop is None]
