"""Buying draws: slots, what is wanted, and what happens to what can't be had."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from rows import call, problem

from pipeline.errors import Stop
from pipeline.funnel import count_unasked
from pipeline.generate import Answer, Generation, Sampling, Unfinished, buy, calls_for
from pipeline.ledger import Call, Entry, Ledger
from pipeline.prompts import PROMPTS
from pipeline.store import Store
from pipeline.truncated import Truncated

GENERATION = Generation(name="long", engine="teacher", draws=4, sampling=Sampling(max_tokens=100))


@dataclass
class Scripted:
    """An engine that answers by draw; `fails` gives what a draw raises instead."""

    fails: dict[int, Exception] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0
    identity: str = "scripted"
    caller: str = "me"
    seeded: bool = True

    async def bought(self, keys: Sequence[str]) -> None:
        pass

    async def answer(self, call: Call) -> Answer:
        self.asked.append(call.draw)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        for _ in range(3):
            await asyncio.sleep(0)
        self.open_now -= 1
        if call.draw in self.fails:
            raise self.fails[call.draw]
        return Answer(outcome="answered", reply=f"draw {call.draw}", finish_reason="stop", attempts=2, cost_usd=0.5)


def bought(engine: Scripted, path: Path, *, calls: int, slots: int, told: Callable[[Entry], None] = id) -> list[str]:
    ledger = Ledger(Store(str(path)), "distill/shard-00000")
    wanted = [call(draw) for draw in range(calls)]

    async def run() -> list[str]:
        return await buy(
            wanted,
            engine=engine,
            ledger=ledger,
            known={},
            truncated=Truncated(),
            slots=asyncio.Semaphore(slots),
            invocation="now",
            told=told,
        )

    return asyncio.run(run())


def held(path: Path) -> dict[str, Entry]:
    return Ledger(Store(str(path)), "distill/shard-00000").read()


def wanted_keys(*, draws: int = 4, seed: int = 1, seeded: bool = True, **changed: object) -> list[str]:
    generation = GENERATION.model_copy(update={"draws": draws, **changed})
    calls = calls_for(problem(), generation, template="{prompt}", identity="m @ h", seeded=seeded, seed=seed)
    return [one.key for one in calls]


def test_every_answer_is_bought_and_told_once_it_is_held(tmp_path: Path) -> None:
    told: list[bool] = []
    unfinished = bought(
        Scripted(), tmp_path, calls=10, slots=3, told=lambda entry: told.append(held(tmp_path)[entry.key] == entry)
    )
    assert unfinished == []
    assert told == [True] * 10
    assert {key: entry.reply for key, entry in held(tmp_path).items()} == {call(n).key: f"draw {n}" for n in range(10)}
    assert {(e.attempts, e.cost_usd, e.invocation, e.outcome) for e in held(tmp_path).values()} == {
        (2, 0.5, "now", "answered")
    }


def test_no_more_calls_are_open_than_there_are_slots(tmp_path: Path) -> None:
    engine = Scripted()
    bought(engine, tmp_path, calls=20, slots=3)
    assert engine.most_open == 3
    assert sorted(engine.asked) == list(range(20))


def test_an_unfinished_call_is_reported_and_not_held(tmp_path: Path) -> None:
    engine = Scripted(fails={1: Unfinished("busy"), 3: Unfinished("broken")})
    assert sorted(bought(engine, tmp_path, calls=5, slots=2)) == ["broken", "busy"]
    assert {entry.draw for entry in held(tmp_path).values()} == {0, 2, 4}


def test_a_stop_asks_no_more_and_keeps_what_was_bought(tmp_path: Path) -> None:
    engine = Scripted(fails={4: Stop("no such model")})
    with pytest.raises(Stop, match="no such model"):
        bought(engine, tmp_path, calls=50, slots=2)
    assert len(engine.asked) <= 4 + 2
    assert {entry.draw for entry in held(tmp_path).values()} == set(engine.asked) - {4}
    assert {0, 1, 2, 3} <= {entry.draw for entry in held(tmp_path).values()}


def test_a_ledger_that_can_not_be_written_stops_the_buying(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("in the way")
    engine = Scripted()
    with pytest.raises(Stop, match="can't write"):
        bought(engine, tmp_path, calls=50, slots=2)
    # Each further answer would be paid for and lost.
    assert len(engine.asked) <= 4


def test_a_refusal_is_final_and_held(tmp_path: Path) -> None:
    class Refusing(Scripted):
        async def answer(self, call: Call) -> Answer:
            return Answer(outcome="refused", why="content_filter")

    assert bought(Refusing(), tmp_path, calls=2, slots=2) == []
    assert {(entry.outcome, entry.why) for entry in held(tmp_path).values()} == {("refused", "content_filter")}


def test_more_draws_extend_the_keys_and_change_none() -> None:
    assert wanted_keys(draws=9)[:4] == wanted_keys(draws=4)
    assert len(set(wanted_keys(draws=9))) == 9


def test_keys_depend_on_what_is_asked_and_not_on_what_it_is_called() -> None:
    keys = wanted_keys()
    assert wanted_keys(name="other") == keys
    assert wanted_keys(problems=1.0) == keys
    assert not set(wanted_keys(sampling=Sampling(max_tokens=101))) & set(keys)
    assert not set(wanted_keys(seed=2)) & set(keys)


def test_the_seed_is_no_part_of_the_key_where_it_is_not_sent() -> None:
    assert wanted_keys(seeded=False, seed=1) == wanted_keys(seeded=False, seed=2)
    assert len(set(wanted_keys(seeded=False))) == 4
    calls = calls_for(problem(), GENERATION, template="{prompt}", identity="m", seeded=False, seed=1)
    assert {one.seed for one in calls} == {-1}


def test_draws_have_seeds_of_their_own() -> None:
    seeds = set()
    for seed in range(5):
        calls = calls_for(problem(), GENERATION, template="{prompt}", identity="m", seeded=True, seed=seed)
        seeds |= {one.seed for one in calls}
    assert len(seeds) == 20
    assert min(seeds) >= 0
    assert max(seeds) < 2**31


def test_a_share_of_the_problems_is_the_same_share_every_time_and_grows() -> None:
    problems = [problem(f"What is {number} + 1?") for number in range(2000)]

    def asked(share: float) -> set[str]:
        generation = GENERATION.model_copy(update={"problems": share})
        return {
            one.id
            for one in problems
            if calls_for(one, generation, template="{prompt}", identity="m", seeded=True, seed=1)
        }

    assert len(asked(1.0)) == 2000
    # 600 expected, standard deviation 20.
    assert 500 < len(asked(0.3)) < 700
    assert asked(0.3) == asked(0.3)
    assert asked(0.3) < asked(0.6) < asked(1.0)


def test_a_call_carries_its_problem_and_its_rendered_prompt() -> None:
    asked = replace(problem(), solution="It is two.")
    calls = calls_for(asked, GENERATION, template="{prompt} {solution}", identity="m", seeded=True, seed=1)
    assert [one.draw for one in calls] == [0, 1, 2, 3]
    assert {one.problem_id for one in calls} == {asked.id}
    assert {one.messages for one in calls} == {'[{"content":"What is 1 + 1? It is two.","role":"user"}]'}


def test_a_problem_without_a_solution_is_not_asked_to_be_rewritten_and_is_counted() -> None:
    template = PROMPTS["reformat"]
    rewriting = Generation(name="reformat", engine="teacher", prompt="reformat", sampling=Sampling(max_tokens=9))
    asked = {"identity": "m", "seeded": True, "seed": 0}
    worked, bare = problem("p", solution="1 + 1 = 2"), problem("q")
    assert len(calls_for(worked, rewriting, template=template, **asked)) == 1
    assert calls_for(bare, rewriting, template=template, **asked) == []
    assert len(calls_for(bare, rewriting, template=PROMPTS["solve"], **asked)) == 1
    both = [(rewriting, template), (rewriting.model_copy(update={"name": "long"}), PROMPTS["solve"])]
    assert count_unasked([worked, bare], both) == {"reformat": 1}
    nobody = rewriting.model_copy(update={"problems": 1e-12})
    assert count_unasked([bare], [(nobody, template)]) == {}
