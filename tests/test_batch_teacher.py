"""Buying through the batch API of the stand-in, over a socket: nothing is sent twice, whatever is killed and when."""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from standin_api import served

from pipeline.batch_teacher import BatchTeacher
from pipeline.endpoints import TeacherSettings
from pipeline.errors import Stop
from pipeline.generate import buy
from pipeline.leases import OwnOffice
from pipeline.ledger import Call, Entry, Ledger, call_key, canonical, spent
from pipeline.limits import Gate, Limits, LimitSettings
from pipeline.money import Money
from pipeline.standin.server import Standin
from pipeline.standin.settings import StandinSettings
from pipeline.store import Store
from pipeline.teacher import alone, places_of
from pipeline.truncated import Truncated

PRICES = {"prompt_usd_per_mtok": 1000.0, "completion_usd_per_mtok": 1000.0}
PART = "distill/shard-00000"


def calls(count: int, max_tokens: int = 400) -> list[Call]:
    sampling = canonical({"temperature": 0.6, "top_p": 0.95, "max_tokens": max_tokens})
    made = []
    for draw in range(count):
        question = f'How many times does the letter "a" appear in the text: "banana{"a" * (draw % 5)}"?'
        messages = canonical([{"role": "user", "content": question}])
        key = call_key(engine="e", messages=messages, sampling=sampling, seed=draw, draw=draw)
        made.append(Call(key, "p", "long", "e", draw, draw, messages, sampling))
    return made


def settings(address: str, **batch: Any) -> TeacherSettings:
    return TeacherSettings(
        model="stand-in", base_url=address, batch={"gather_s": 0.1, "poll_s": 0.05, **batch}, **PRICES
    )


def teacher(wanted: TeacherSettings, store: Store, money: Money | None = None, key: str | None = None) -> BatchTeacher:
    gate = Gate(LimitSettings(), most=10**9, weight=1.0, now=-math.inf, full=True)
    place = places_of(wanted.at(), wanted, [key])[0]
    return BatchTeacher(wanted, place, OwnOffice(Limits([gate], money)), store, "long")


async def bought(engine: Any, store: Store, wanted: list[Call]) -> list[str]:
    ledger = Ledger(store, PART)
    left = await buy(
        wanted,
        engine=engine,
        ledger=ledger,
        known=ledger.read(),
        truncated=Truncated(),
        slots=asyncio.Semaphore(1000),
        invocation="now",
        told=id,
    )
    await engine.bought([call.key for call in wanted])
    return left


def content(store: Store) -> dict[str, tuple[Any, ...]]:
    names = ("outcome", "thought", "reply", "finish_reason", "prompt_tokens", "thought_tokens", "reply_tokens")
    return {key: tuple(getattr(entry, name) for name in names) for key, entry in Ledger(store, PART).read().items()}


def noted(store: Store) -> list[str]:
    return store.names("ledger/batches/long")


def test_a_batch_gives_the_plain_endpoints_answers_at_half_the_price(tmp_path: Path) -> None:
    async def both() -> None:
        async with served(batch_s=0.3) as api:
            batched, plain = Store(str(tmp_path / "batch")), Store(str(tmp_path / "plain"))
            async with teacher(settings(f"{api.url}/v1", calls=20), batched) as engine:
                assert await bought(engine, batched, calls(50)) == []
            one_by_one = TeacherSettings(model="stand-in", base_url=f"{api.url}/v1", **PRICES)
            async with alone(one_by_one) as engine:
                assert await bought(engine, plain, calls(50)) == []
            assert len(content(batched)) == 50
            assert content(batched) == content(plain)
            assert (await api.stats())["batches"] == 3
            assert sum(spent(batched).by_caller.values()) == pytest.approx(sum(spent(plain).by_caller.values()) / 2)
            assert len(spent(batched).by_caller) == 3
            assert noted(batched) == []

    asyncio.run(both())


def test_two_batches_that_two_shards_need_no_more_at_once_are_both_forgotten(tmp_path: Path) -> None:
    async def both_at_once() -> None:
        async with served() as api:
            store, wanted = Store(str(tmp_path)), calls(20)
            async with teacher(settings(f"{api.url}/v1", calls=10), store) as engine:
                await asyncio.gather(*(engine.answer(call) for call in wanted))
                assert len(noted(store)) == 2
                halves = [[call.key for call in half] for half in (wanted[:10], wanted[10:])]
                await asyncio.gather(*map(engine.bought, halves))
                assert noted(store) == []

    asyncio.run(both_at_once())


@pytest.mark.parametrize("knows_its_id", [True, False])
def test_a_batch_that_was_sent_before_a_kill_is_taken_over_and_not_sent_again(
    tmp_path: Path, knows_its_id: bool
) -> None:
    store = Store(str(tmp_path))

    async def killed_and_again() -> None:
        async with served(batch_s=1.5) as api:
            first = await teacher(settings(f"{api.url}/v1"), store).__aenter__()
            asking = [asyncio.create_task(first.answer(call)) for call in calls(10)]
            while not noted(store) or store.read_json(f"ledger/batches/long/{noted(store)[0]}")["id"] is None:
                await asyncio.sleep(0.02)
            # As good as killed: nothing of it runs on, and nobody hears of the end.
            for task in asking:
                task.cancel()
            await first.__aexit__()
            if not knows_its_id:
                name = f"ledger/batches/long/{noted(store)[0]}"
                store.write_json(name, {**store.read_json(name), "id": None})
            async with teacher(settings(f"{api.url}/v1"), store) as second:
                assert await bought(second, store, calls(12)) == []
            assert len(content(store)) == 12
            # Ten were there already; the two new ones made a batch of their own.
            assert (await api.stats())["batches"] == 2
            assert (await api.stats())["billed"]["requests"] == 12
            assert noted(store) == []

    asyncio.run(killed_and_again())


def test_a_batch_that_was_never_sent_is_gathered_anew(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    told = [{name: getattr(call, name) for name in Call.__dataclass_fields__} for call in calls(3)]
    store.write_json("ledger/batches/long/long-lost.json", {"mark": "long-lost", "id": None, "calls": told})

    async def again() -> None:
        async with served(batch_s=0.1) as api:
            async with teacher(settings(f"{api.url}/v1"), store) as engine:
                assert await bought(engine, store, calls(3)) == []
            assert (await api.stats())["billed"]["requests"] == 3
            assert noted(store) == []

    asyncio.run(again())


def test_lines_that_fail_or_expire_go_into_another_batch(tmp_path: Path) -> None:
    for name, troubles in (("failed", {"share_batch_errors": 0.3}), ("expired", {"share_batch_expired": 0.4})):
        store = Store(str(tmp_path / name))

        async def through(troubles: dict[str, float] = troubles, store: Store = store) -> None:
            async with served(batch_s=0.1, **troubles) as api:
                async with teacher(settings(f"{api.url}/v1", calls=5), store) as engine:
                    wanted = calls(50)
                    for _ in range(4):
                        if not await bought(engine, store, wanted):
                            break
                assert len(content(store)) == 50
                assert (await api.stats())["batches"] > 10
                assert noted(store) == []

        asyncio.run(through())


def test_a_budget_holds_for_batches_too(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    worst = settings("http://h/v1").worst_cost(calls(1)[0].messages, max_tokens=60)
    money = Money(3.5 * worst, bought={}, left_open={})

    async def until_it_is_spent() -> None:
        async with served(batch_s=0.1) as api:
            async with teacher(settings(f"{api.url}/v1", calls=5), store, money) as engine:
                with pytest.raises(Stop, match=r"budget_usd=.* is reached"):
                    await bought(engine, store, calls(200, max_tokens=60))
            entries: list[Entry] = list(Ledger(store, PART).read().values())
            assert len(entries) >= 3
            assert sum(entry.cost_usd for entry in entries) <= money.budget_usd
            assert sum(entry.cost_usd for entry in entries) == pytest.approx(money.charged_usd)
            assert (await api.stats())["billed"]["requests"] == len(entries)

    asyncio.run(until_it_is_spent())


def test_a_batch_that_the_provider_refuses_stops_with_its_words_and_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stand-in accepts the order and then finds every line wrong, as providers do.
    monkeypatch.setattr("pipeline.batches._LINE", {"method": "GET", "url": "/v1/chat/completions"})
    store = Store(str(tmp_path))

    async def refused() -> None:
        async with served(batch_s=0.1) as api:
            async with teacher(settings(f"{api.url}/v1"), store) as engine:
                with pytest.raises(Stop, match=r"refused the batch.*method POST"):
                    await bought(engine, store, calls(2))
            assert noted(store) == []

    asyncio.run(refused())


def test_an_order_that_the_provider_refuses_stops_and_is_sent_anew_when_it_is_right(tmp_path: Path) -> None:
    store = Store(str(tmp_path))

    async def refused() -> None:
        async with served(batch_s=0.1) as api:
            async with teacher(settings(f"{api.url}/v1", completion_window="1h"), store) as engine:
                with pytest.raises(Stop, match=r"refuses POST batches.*completion_window 24h"):
                    await bought(engine, store, calls(2))
            async with teacher(settings(f"{api.url}/v1"), store) as engine:
                assert await bought(engine, store, calls(2)) == []
            assert noted(store) == []

    asyncio.run(refused())


def test_a_wrong_key_is_one_line(tmp_path: Path) -> None:
    store = Store(str(tmp_path))

    async def asked() -> None:
        async with (
            served(key="right-key-0001") as api,
            teacher(settings(f"{api.url}/v1"), store, key="wrong-key-0002") as engine,
        ):
            with pytest.raises(Stop, match="refuses the key"):
                await bought(engine, store, calls(2))

    asyncio.run(asked())
    assert noted(store) == []
    assert b"wrong-key-0002" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def behind_a_proxy(path: str, spoil: Callable[[web.StreamResponse], web.StreamResponse]) -> AsyncIterator[str]:
    """A stand-in's address; the first reply to requests of that path is spoiled after the stand-in did its work."""
    spoiled = []

    @web.middleware
    async def proxy(request: web.Request, handler: Handler) -> web.StreamResponse:
        reply = await handler(request)
        if path in request.path and request.method == ("POST" if path.endswith("batches") else "GET") and not spoiled:
            spoiled.append(request.path)
            return spoil(reply)
        return reply

    app = Standin(StandinSettings(batch_s=0.1)).app()
    app.middlewares.append(proxy)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    assert spoiled
    await runner.cleanup()


def test_a_batch_whose_acknowledgement_was_lost_is_found_and_not_ordered_twice(tmp_path: Path) -> None:
    store = Store(str(tmp_path))

    async def lost() -> None:
        async with behind_a_proxy("/v1/batches", lambda reply: web.Response(status=502, text="<html>")) as url:
            async with teacher(settings(f"{url}/v1"), store) as engine:
                assert await bought(engine, store, calls(5)) == []
            async with aiohttp.ClientSession() as session, session.get(f"{url}/stats") as stats:
                said = await stats.json()
            assert (said["batches"], said["billed"]["requests"]) == (1, 5)
            assert noted(store) == []

    asyncio.run(lost())


def test_a_result_line_that_can_not_be_read_costs_one_call_another_batch_and_hangs_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))

    def broken(reply: web.StreamResponse) -> web.StreamResponse:
        assert isinstance(reply, web.Response)
        assert isinstance(reply.body, bytes)
        lines = reply.body.splitlines()
        odd = json.loads(lines[1]) | {"response": "upstream error", "error": "timeout"}
        return web.Response(body=b"\n".join([b"{broken", json.dumps(odd).encode(), *lines[2:]]))

    async def odd() -> None:
        async with (
            behind_a_proxy("/content", broken) as url,
            teacher(settings(f"{url}/v1"), store) as engine,
        ):
            assert await asyncio.wait_for(bought(engine, store, calls(5)), 30) == []
        assert len(content(store)) == 5
        assert noted(store) == []

    asyncio.run(odd())
