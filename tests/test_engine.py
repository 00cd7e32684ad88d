"""The vLLM engine: how much it takes on, what it refuses, and that it outlives its processes."""

import asyncio
import json
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray
from ray.util import placement_group_table
from tiny import tiny_model

from cluster.admission import Cap, Gate, Load
from cluster.engine import Engine, EngineSettings, actor_options, engine_args
from cluster.placement import groups_freed, in_group
from cluster.session import ClusterSettings, session
from cluster.templates import BadPrompt, Chat
from cluster.vllm_life import Stall
from cluster.vllm_stats import Export, Figures, note
from pipeline.errors import Stop
from pipeline.generate import Answer
from pipeline.ledger import Call, canonical


def test_a_full_cache_cuts_the_cap_and_room_raises_it_again() -> None:
    # An engine whose cache holds 40 draws, asked for up to 256 at once by more work than it can ever do.
    cap, preempted, most_open = Cap(least=16, most=256), 0, []
    opened = 256
    for _ in range(400):
        preempted += max(0, opened - 40)
        limit = cap.look(Load(open=opened, preempted=preempted, cache_used=min(1.0, opened / 40)))
        assert 16 <= limit <= 256
        # A tenth of the draws end; those below the limit are replaced.
        opened = max(opened - max(1, opened // 10), min(limit, 256))
        most_open.append(opened)
    settled = most_open[100:]
    assert max(settled) < 50
    assert min(settled) > 20


def test_a_cap_that_does_not_bind_stays_and_one_cut_waits_for_the_next() -> None:
    cap = Cap(least=2, most=64)
    assert cap.look(Load(open=10, preempted=0, cache_used=0.1)) == 64
    assert cap.look(Load(open=64, preempted=3, cache_used=1.0)) == 51
    # Still over the limit: these preemptions are the same overfull cache's.
    assert cap.look(Load(open=60, preempted=9, cache_used=1.0)) == 51
    assert cap.look(Load(open=50, preempted=9, cache_used=0.5)) == 51
    assert cap.look(Load(open=51, preempted=9, cache_used=0.9)) == 51
    assert cap.look(Load(open=51, preempted=9, cache_used=0.5)) == 52
    assert cap.look(Load(open=1, preempted=10, cache_used=1.0)) == 2


def test_a_gate_lets_in_as_many_as_its_limit_says_in_their_order_and_loses_no_place() -> None:
    async def through() -> None:
        gate, seen, inside = Gate(2), [], 0
        most = 0

        async def one(name: int) -> None:
            nonlocal inside, most
            async with gate:
                seen.append(name)
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.01)
                inside -= 1

        tasks = [asyncio.create_task(one(name)) for name in range(10)]
        await asyncio.sleep(0)
        tasks[5].cancel()
        await asyncio.sleep(0.015)
        gate.limit = 3
        await asyncio.gather(*tasks, return_exceptions=True)
        assert seen == [0, 1, 2, 3, 4, 6, 7, 8, 9]
        assert (most, gate.open) == (3, 0)
        # Cancelled just when its turn came.
        async with gate, gate, gate:
            late = asyncio.create_task(one(10))
            await asyncio.sleep(0)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        assert gate.open == 0

    asyncio.run(through())


def test_an_engine_hangs_when_draws_are_open_and_no_step_is_made() -> None:
    def hung(looks: list[tuple[float, int, int]]) -> bool:
        stall = Stall(5)
        return any(stall.look(now=now, open_draws=opened, steps=steps) for now, opened, steps in looks)

    assert hung([(now, 1, 7) for now in range(10)])
    assert not hung([(now, 0, 7) for now in range(100)])
    assert not hung([(now, 1, now // 4) for now in range(100)])
    # It was the watching process that stood still.
    assert not hung([(0, 1, 7), (1, 1, 7), (3600, 1, 7), (3601, 1, 8)])


def test_vllms_figures_add_up_and_are_passed_on() -> None:
    figures, exported = Figures(), Export("a model")
    scheduler = SimpleNamespace(num_running_reqs=3, num_waiting_reqs=2, num_skipped_waiting_reqs=1, kv_cache_usage=0.5)
    tokens = SimpleNamespace(total=100, cached_tokens=64)
    iteration = SimpleNamespace(prompt_token_stats=tokens, num_generation_tokens=3, num_preempted_reqs=1)
    note(figures, scheduler, iteration)
    note(figures, None, iteration)
    note(figures, scheduler, None)
    exported.tell(figures)
    exported.tell(figures)
    assert figures == Figures(
        running=3, waiting=3, cache_used=0.5, steps=3, prompt=200, cached=128, generated=6, preempted=2
    )


def test_several_gpus_are_bundles_of_one_group_with_vllms_ray_executor() -> None:
    settings = EngineSettings(tensor_parallel=4, cpus=2)
    options = actor_options(settings)
    assert (options["num_cpus"], options["num_gpus"]) == (2, 0)
    assert options["ray_remote_args_fn"].args == ([{"GPU": 1, "CPU": 2}, {"GPU": 1}, {"GPU": 1}, {"GPU": 1}],)
    args = engine_args(settings, "m")
    assert (args["tensor_parallel_size"], args["distributed_executor_backend"]) == (4, "ray")
    assert actor_options(EngineSettings())["num_gpus"] == 1
    assert "distributed_executor_backend" not in engine_args(EngineSettings(), "m")
    assert "ray_remote_args_fn" not in actor_options(EngineSettings(device="cpu"))


@pytest.mark.ray
def test_an_actor_pool_runs_in_its_group_and_the_group_is_given_back() -> None:
    # Local, so that it travels by value: the workers know nothing of this file.
    class Where:
        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            return {"group": [ray.util.get_current_placement_group().id.hex()]}

    with session(ClusterSettings(local_cpus=3, dashboard=False)):
        with groups_freed():
            rows = ray.data.from_items([{"n": 1}]).map_batches(
                Where,
                compute=ray.data.ActorPoolStrategy(size=1),
                num_cpus=1,
                num_gpus=0,
                ray_remote_args_fn=partial(in_group, [{"CPU": 1}, {"CPU": 1}]),
            )
            (row,) = rows.take_all()
            assert placement_group_table()[row["group"]]["state"] == "CREATED"
        until = time.monotonic() + 30
        while placement_group_table()[row["group"]]["state"] != "REMOVED" and time.monotonic() < until:
            time.sleep(0.1)
        assert placement_group_table()[row["group"]]["state"] == "REMOVED"


def test_messages_that_make_no_prompt_are_told_apart_from_a_model_without_a_template(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    asked = canonical([{"role": "user", "content": "two"}])

    def prompt(template: str) -> list[int]:
        chat = Chat("m", str(model))
        chat._tokenizer.chat_template = template
        return asyncio.run(chat.prompt(asked)).ids

    assert len(prompt("{{ messages[0]['content'] }}")) == 3
    with pytest.raises(BadPrompt, match="empty prompt"):
        prompt("{{ '' }}")
    with pytest.raises(BadPrompt, match="only systems"):
        prompt("{{ raise_exception('only systems') }}")
    with pytest.raises(BadPrompt, match="refuses"):
        prompt("{{ messages[0]['content'] + 1 }}")
    config = model / "tokenizer_config.json"
    (model / "chat_template.jinja").unlink(missing_ok=True)
    config.write_text(config.read_text().replace("chat_template", "no_template"))
    with pytest.raises(Stop, match="no chat template"):
        Chat("m", str(model))
    with pytest.raises(Stop, match="can't be opened"):
        Chat("m", str(tmp_path / "nowhere"))


def test_an_answer_to_go_on_with_follows_the_prompt_as_it_is(tmp_path: Path) -> None:
    chat = Chat("m", str(tiny_model(tmp_path)))
    asked = canonical([{"role": "user", "content": "two"}, {"role": "assistant", "content": "<think>\nso"}])
    asks = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    for ending in ("", ": ", ": <think>\n"):
        chat._tokenizer.chat_template = asks + "{% if add_generation_prompt %}" + ending + "{% endif %}"
        chat._kept.cache_clear()
        prompt = asyncio.run(chat.prompt(asked))
        text = chat._tokenizer.decode(prompt.ids)
        assert text == f"two{ending.removesuffix('<think>' + chr(10))}<think>\nso"
        assert (prompt.goes_on, prompt.opens_thought) == (True, "<think>" in ending)


def call(n: int, *, draw: int = 0, max_tokens: int = 300, text: str = "What is it? " * 20) -> Call:
    """Even numbers are drawn greedily, odd ones by seed."""
    sampling = f'{{"temperature":{n % 2},"top_p":1,"max_tokens":{max_tokens}}}'
    messages = canonical([{"role": "user", "content": f"{n} {text}"}])
    return Call(f"{n}-{draw}", "p", "g", "e", draw, n + 100 * draw, messages, sampling)


def settings(**changes: object) -> EngineSettings:
    values = {"device": "cpu", "dtype": "float32", "max_model_len": 768, "in_flight": 16, "compile": False}
    return EngineSettings(**{**values, "kv_cache_gib": 0.25, **changes})


def opened(model: Path, **changes: object) -> Engine:
    for name, value in actor_options(settings())["runtime_env"]["env_vars"].items():
        os.environ[name] = value
    return Engine(settings(**changes), model=str(model), identity="tiny")


async def all_answers(engine: Engine, calls: list[Call]) -> list[Answer]:
    return await asyncio.gather(*(engine.answer(call) for call in calls))


def said(answers: list[Answer]) -> list[tuple[str, str, int]]:
    assert {answer.outcome for answer in answers} == {"answered"}
    return [(answer.thought + answer.reply, answer.finish_reason, answer.reply_tokens) for answer in answers]


def core() -> int:
    """The process id of the one engine core that this process has started."""
    (pid,) = living()
    return pid


def living() -> list[int]:
    """Children of this process that run; multiprocessing goes on listing one that somebody else has waited for."""
    children = [
        psutil.Process(child.pid) for child in multiprocessing.active_children() if psutil.pid_exists(child.pid)
    ]
    return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.vllm
def test_an_engine_killed_or_stopped_is_replaced_and_every_call_gets_the_same_answer(tmp_path: Path) -> None:
    calls = [call(n, max_tokens=160) for n in range(32)]

    async def struck(engine: Engine, number: signal.Signals) -> list[Answer]:
        before = engine.figures.generated
        answers = asyncio.create_task(all_answers(engine, calls))
        while engine.figures.generated < before + 1000:
            await asyncio.sleep(0.01)
        victim = core()
        os.kill(victim, number)
        given = await answers
        assert victim != core()
        return given

    async def lives(engine: Engine) -> None:
        unbroken = said(await all_answers(engine, calls))
        assert len(set(unbroken)) > 16
        figures = engine.figures
        assert figures.generated == sum(tokens for _, _, tokens in unbroken)
        # Four draws of one new prompt, asked for at once: three find its full blocks of 32 tokens computed.
        had, asked = figures.cached, figures.prompt
        answers = await all_answers(engine, [call(101, draw=draw, max_tokens=8) for draw in range(4)])
        length = answers[0].prompt_tokens
        assert figures.prompt - asked == 4 * length
        assert figures.cached - had == 3 * ((length - 1) // 32 * 32)
        assert sorted(answer.cached_tokens for answer in answers) == [0, *[(length - 1) // 32 * 32] * 3]
        begun = call(0, text="hm", max_tokens=8)
        whole = await engine.answer(begun)
        prefix = {"role": "assistant", "content": "<think>\nabc"}
        rest = await engine.answer(replace(begun, messages=canonical([*json.loads(begun.messages), prefix])))
        # A byte is a token here; the rest of an answer is not taken apart before it is joined.
        assert rest.prompt_tokens == whole.prompt_tokens + len("<think>\nabc")
        assert (rest.outcome, rest.thought, rest.thought_tokens, rest.reply_tokens) == ("answered", "", 0, 8)
        refused = await engine.answer(call(1, text="long " * 300))
        assert (refused.outcome, refused.why) == ("refused", "prompt of 1521 tokens, max_model_len=768")
        (cut,) = await all_answers(engine, [call(0, max_tokens=5000, text="x" * 700)])
        assert cut.prompt_tokens + cut.reply_tokens <= 768
        assert said(await struck(engine, signal.SIGKILL)) == unbroken
        assert said(await struck(engine, signal.SIGSTOP)) == unbroken
        assert figures.deaths == 2
        await engine.close()
        assert living() == []

    asyncio.run(lives(opened(tiny_model(tmp_path), stall_s=5)))


@pytest.mark.vllm
def test_a_small_cache_lowers_the_cap_and_every_call_is_answered(tmp_path: Path) -> None:
    async def crowded(engine: Engine) -> None:
        calls = [call(n, text="hm") for n in range(96)]
        limits: list[int] = []

        async def watched() -> None:
            while True:
                limits.append(engine.figures.limit)
                await asyncio.sleep(0.1)

        watching = asyncio.create_task(watched())
        answers = said(await all_answers(engine, calls))
        watching.cancel()
        assert len(answers) == 96
        assert engine.figures.preempted > 0
        assert 0 < min(limit for limit in limits if limit) < 48
        await engine.close()
        assert living() == []

    # 1 KiB a token: a cache of 2,048 tokens for 48 draws of up to 310.
    asyncio.run(crowded(opened(tiny_model(tmp_path), kv_cache_gib=2 / 1024, in_flight=48)))


@pytest.mark.vllm
def test_an_engine_that_only_dies_stops_the_run_with_one_line(tmp_path: Path) -> None:
    ended = threading.Event()

    def strike() -> None:
        while not ended.is_set():
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)
            time.sleep(0.5)

    async def dying(engine: Engine) -> None:
        given = await asyncio.gather(*(engine.answer(call(n)) for n in range(3)), return_exceptions=True)
        assert [type(error) for error in given] == [Stop] * 3
        assert "died 2 times without one answer in between, at last because it" in str(given[0])
        assert "\n" not in str(given[0])

    striking = threading.Thread(target=strike)
    striking.start()
    try:
        asyncio.run(dying(opened(tiny_model(tmp_path), restarts=1)))
    finally:
        ended.set()
        striking.join()
