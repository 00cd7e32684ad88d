"""Which rows a run holds, step by step: where their files lie, what their funnel counts and which columns are shown."""

from dataclasses import dataclass

from pipeline.store import Store


@dataclass(frozen=True, slots=True)
class View:
    """One kind of rows: where its files lie, what its funnel counts, and which columns are shown.

    `reason` names the columns that tell what became of a row, the first that says something counts; `kept` is the word
    where none does. `prefix` is how its files' names begin; `below` looks into the folders below too, and `grouped`
    counts each of them apart. `made_by` is the job that writes it. `shown` and `searched` name columns, with spaces
    between; a file may lack some.
    """

    folders: tuple[str, ...]
    made_by: str
    reason: tuple[str, ...]
    shown: str
    searched: str
    prefix: tuple[str, ...] = ("",)
    kept: str = "kept"
    below: bool = False
    grouped: bool = False

    @property
    def columns(self) -> list[str]:
        """The columns that are shown."""
        return self.shown.split()

    @property
    def texts(self) -> list[str]:
        """The columns that are searched for a text."""
        return self.searched.split()


_PROBLEM = "id source row subject level kind answer raw_answer pass_rate pass_draws cluster drop drop_why"
_PROBLEM_TEXTS = "prompt raw_prompt solution"
_TRACE = (
    "id source subject level generation draw engine verdict found answer why finish_reason thought_tokens reply_tokens "
    "tokens student_tokens agreement pass_rate cost_usd judged split drop drop_why"
)
_CANDIDATE = "id source subject level generation draw tokens student_tokens agreement pass_rate drop drop_why"
_TRACE_TEXTS = "prompt thought reply"
_EXAMPLE = (
    "problem_id source subject level licence generation engine draw verdict answer found pass_rate cluster "
    "thought_tokens reply_tokens student_tokens cost_usd"
)
_PAIR = (
    "problem_id source subject level answer generation chosen_generation chosen_draw chosen_found rejected_generation "
    "rejected_draw rejected_found rejected_verdict"
)
_CLUSTER = "cluster id source kept drop similarity answer prompt"
_MATCH = "where id source draw layer benchmark benchmark_id score shared text benchmark_text"

VIEWS = {
    "problems": View(("problems",), "curate", ("drop",), f"{_PROBLEM} {_PROBLEM_TEXTS}", f"{_PROBLEM_TEXTS} answer"),
    "clusters": View(("problems/clusters",), "curate", ("drop",), _CLUSTER, "prompt answer", below=True),
    "matches": View(
        ("problems/matches", "choices/matches"),
        "curate",
        ("layer",),
        _MATCH,
        "text benchmark_text",
        below=True,
        grouped=True,
    ),
    "traces": View(("traces",), "distill", ("drop", "verdict"), f"{_TRACE} {_TRACE_TEXTS}", _TRACE_TEXTS),
    "choices": View(("choices",), "choose", ("drop",), f"{_TRACE} {_TRACE_TEXTS}", _TRACE_TEXTS),
    "candidates": View(("choosing/failed",), "choose", ("drop",), _CANDIDATE, "", kept="fit"),
    "dataset": View(
        ("dataset",), "choose", (), f"{_EXAMPLE} messages", "messages", ("train-", "validation-"), kept="examples"
    ),
    "validation": View(
        ("dataset",), "choose", (), f"{_EXAMPLE} messages", "messages", ("validation-",), kept="validation"
    ),
    "pairs": View(
        ("dataset/preference",),
        "choose",
        (),
        f"{_PAIR} prompt chosen rejected",
        "prompt chosen rejected",
        ("pairs-",),
        kept="pairs",
    ),
    "scores": View(
        ("scores",), "evaluate", ("drop", "verdict"), f"{_TRACE} {_TRACE_TEXTS}", _TRACE_TEXTS, below=True, grouped=True
    ),
    "benchmarks": View(
        ("benchmarks",),
        "curate",
        ("drop",),
        f"{_PROBLEM} {_PROBLEM_TEXTS}",
        f"{_PROBLEM_TEXTS} answer",
        below=True,
        grouped=True,
    ),
}


def files(store: Store, view: View) -> list[str]:
    """The files of one kind of rows, in order."""
    found = []
    for folder in view.folders:
        if view.below:
            found += store.names_below(folder, ".parquet")
        else:
            found += [f"{folder}/{name}" for name in store.names(folder, ".parquet") if name.startswith(view.prefix)]
    return found


def steps_there(store: Store) -> list[str]:
    """The kinds of rows that a run has files of."""
    return [name for name, view in VIEWS.items() if files(store, view)]
