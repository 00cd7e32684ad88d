"""The stand-in's rate limits, and what it counts."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from standin_api import Api, Got, recorded, served, talk

from pipeline.standin import counts
from pipeline.standin.limits import Bucket, duration
from pipeline.standin.settings import StandinSettings

STATS = {
    "requests": {},
    "in_flight": 0,
    "max_in_flight": 0,
    "billed": {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0},
    "distinct": 0,
    "most_per_minute": 0,
    "arrivals": [],
    "odd": {},
    "batches": 0,
}


def test_a_bucket_holds_one_second_and_fills_at_its_rate() -> None:
    bucket = Bucket(600, least=1)
    passed = 0
    while bucket.wait(1, now=0.0) == 0.0:
        bucket.take(1, now=0.0)
        passed += 1
    assert passed == 10
    assert bucket.wait(1, now=0.0) == pytest.approx(0.1)
    assert bucket.wait(1, now=0.04) == pytest.approx(0.06)
    assert bucket.wait(1, now=0.1) == 0.0
    assert bucket.level(now=100.0) == 10
    # Less than one a second still lets one pass, every two seconds.
    slow = Bucket(30, least=1)
    assert slow.wait(1, now=0.0) == 0.0
    slow.take(1, now=0.0)
    assert slow.wait(1, now=0.5) == pytest.approx(1.5)


def test_more_than_a_seconds_worth_passes_and_is_paid_for_after() -> None:
    bucket = Bucket(6000, least=1)
    assert bucket.wait(250, now=0.0) == 0.0
    bucket.take(250, now=0.0)
    # 150 below nothing at 100 a second: one token after 1.51 s, the whole second's worth after 2.5 s.
    assert bucket.wait(1, now=0.0) == pytest.approx(1.51)
    assert bucket.wait(250, now=0.0) == pytest.approx(2.5)


def test_times_are_written_as_openai_writes_them() -> None:
    told = {0: "0s", 0.0061: "7ms", 0.02: "20ms", 1.2: "1.2s", 59.9994: "1m0s", 360: "6m0s", 3723.5: "1h2m3.5s"}
    assert {seconds: duration(seconds) for seconds in told} == told


def test_requests_beyond_the_limit_are_told_when_they_would_pass() -> None:
    async def asked(api: Api) -> None:
        got = await api.several(15)
        passed = [each for each in got if each.status == 200]
        refused = [each for each in got if each.status == 429]
        # One second's worth is 4; a slow machine may let a few more pass.
        assert 4 <= len(passed) <= 8
        waits = [float(each.headers["Retry-After"]) for each in refused]
        assert all(0 < wait <= 0.25 for wait in waits)
        await asyncio.sleep(waits[-1])
        assert (await api.ask()).status == 200

    talk(asked, requests_per_minute=240)


def test_a_limit_of_tokens_counts_what_was_used_or_asked(tmp_path: Path) -> None:
    settings = recorded(tmp_path, **{"1234": "x" * 76})

    async def asked(api: Api) -> list[Any]:
        got = [await api.ask("1234", max_tokens=99) for _ in range(2)]
        return [got[0].status, got[1].status, float(got[1].headers.get("Retry-After", 0))]

    # 1 token asked and 19 said, of 10 a second: the second one waits until 10 below nothing have become 10 above.
    first, second, wait = talk(asked, **settings, tokens_per_minute=600)
    assert (first, second) == (200, 429)
    assert 1.0 < wait <= 2.0
    # 1 asked and the cap of 99: 90 below nothing.
    first, second, wait = talk(asked, **settings, tokens_per_minute=600, tokens_counted="asked")
    assert (first, second) == (200, 429)
    assert 8.0 < wait <= 10.0


def test_every_reply_says_the_limits(tmp_path: Path) -> None:
    async def asked(api: Api) -> list[Got]:
        return [
            await api.ask("1234"),
            await api.ask("1234", stream=True),
            await api.ask("1234"),
            await api.send(b"{broken"),
        ]

    settings = recorded(tmp_path, **{"1234": "x" * 4})
    limits = {"requests_per_minute": 2, "tokens_per_minute": 60_000, "rate_headers": True}
    got = talk(asked, **settings, **limits)
    assert [each.status for each in got] == [200, 429, 429, 400]
    for each in got:
        told = {name: each.headers[f"x-ratelimit-{name}"] for name in ("limit-requests", "remaining-requests")}
        assert told == {"limit-requests": "2", "remaining-requests": "0"}
        # One request at two a minute: full again after 30 s, less what has passed.
        assert 25 < float(each.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 30
        assert each.headers["x-ratelimit-limit-tokens"] == "60000"
        assert 998 <= int(each.headers["x-ratelimit-remaining-tokens"]) <= 1000
        assert each.headers["x-ratelimit-reset-tokens"] in ("2ms", "1ms", "0s")
    limited = talk(asked, **settings, requests_per_minute=2)
    assert not any(name.lower().startswith("x-ratelimit") for each in limited for name in each.headers)
    one = talk(asked, **settings, requests_per_minute=2, rate_headers=True)[0]
    assert "x-ratelimit-limit-tokens" not in one.headers


def test_more_open_requests_than_allowed_are_refused_without_a_time() -> None:
    async def asked(api: Api) -> Any:
        return await api.several(8), await api.stats()

    got, stats = talk(asked, max_in_flight=3, latency_s=0.5)
    refused = [each for each in got if each.status == 429]
    assert len(refused) == 5
    assert not any("Retry-After" in each.headers for each in refused)
    assert stats["requests"] == {"200": 3, "429": 5}
    assert stats["in_flight"] == 0
    assert 4 <= stats["max_in_flight"] <= 8


def test_the_bill_and_the_distinct_requests(tmp_path: Path) -> None:
    async def asked(api: Api) -> Any:
        assert await api.stats() == STATS
        for body in ({"seed": 0}, {"seed": 0}, {"seed": 1}, {"seed": 1, "max_tokens": 3}):
            assert (await api.ask("1234567", **body)).status == 200
        assert (await api.ask("unknown")).status == 400
        stats = await api.stats()
        await api.post("/stats/reset")
        assert await api.stats() == STATS
        await api.ask("1234567")
        return stats, await api.stats()

    stats, later = talk(asked, **recorded(tmp_path, **{"1234567": "x" * 20}))
    # 7 characters are 2 tokens; 20 are 5, or 3 under the cap.
    assert stats["billed"] == {"requests": 4, "prompt_tokens": 8, "completion_tokens": 18}
    assert stats["distinct"] == 3
    assert stats["requests"] == {"200": 4, "400": 1}
    assert (stats["most_per_minute"], sum(stats["arrivals"])) == (5, 5)
    assert later["billed"] == {"requests": 1, "prompt_tokens": 2, "completion_tokens": 5}
    assert (later["distinct"], later["most_per_minute"], sum(later["arrivals"])) == (1, 1, 1)


def test_arrivals_are_counted_by_a_tenth_of_a_second() -> None:
    async def asked(api: Api) -> Any:
        started = time.monotonic()
        await api.several(5)
        await asyncio.sleep(0.6)
        middle = time.monotonic() - started
        await api.several(3)
        return middle, (await api.stats())["arrivals"]

    middle, arrivals = talk(asked)
    assert sum(arrivals) == 8
    bucket = int(middle * 10)
    assert (sum(arrivals[: bucket - 3]), sum(arrivals[bucket - 3 :])) == (5, 3)


def test_the_most_in_a_minute_is_over_any_sixty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(counts.time, "monotonic", lambda: now)
    seen = counts.Counts()
    # 2 at 0 s, 3 at 50 s, 4 at 70 s, 1 at 200 s: the fullest sixty seconds hold the 3 and the 4.
    for at, arriving in ((0.0, 2), (50.0, 3), (70.0, 4), (200.0, 1)):
        now = 1000.0 + at
        for _ in range(arriving):
            seen.arrived()
            seen.left()
    told = seen.told()
    assert told["most_per_minute"] == 7
    assert {bucket: count for bucket, count in enumerate(told["arrivals"]) if count} == {0: 2, 500: 3, 700: 4, 2000: 1}


def test_the_settings_survive_the_way_to_the_servers_process() -> None:
    asked = StandinSettings(odd={"crlf": 0.5}, requests_per_minute=3, reasoning="inline", max_in_flight=2)
    assert StandinSettings.model_validate_json(asked.model_dump_json()) == asked
    assert json.loads(asked.model_dump_json())["tokens_per_minute"] is None


def test_the_key_guards_batches_too() -> None:
    async def asked() -> list[int]:
        async with served(key="right") as api:
            wrong = [(await api.get("/v1/batches")).status, (await api.ask()).status]
            api.session.headers["Authorization"] = "Bearer right"
            return [*wrong, (await api.get("/v1/batches")).status, (await api.ask()).status]

    assert asyncio.run(asked()) == [401, 401, 200, 200]
