"""Several endpoints, keys, and replies of every bad kind: a reason or an answer, never a crash, never a lost bill."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from fake_api import USAGE, FakeApi, body, error, raw, stream, whole
from rows import call

from cluster.session import secret
from jobs.recipe_file import load
from pipeline.bought import bought as listed
from pipeline.endpoints import EndpointSettings, TeacherSettings
from pipeline.errors import BadRecipe, Stop
from pipeline.generate import buy
from pipeline.ledger import Entry, Ledger
from pipeline.store import Store
from pipeline.teacher import alone, places_of
from pipeline.truncated import Truncated

KEY = "sk-very-secret-0123456789"
PART = "distill/shard-00000"
PRICES = {"prompt_usd_per_mtok": 1e3, "completion_usd_per_mtok": 1e4}
# The call of `rows`: 100 tokens of completion at $0.01, and 44 bytes of messages + 64 tokens of template at $0.001.
WORST = 1.0 + (len('[{"role":"user","content":"What is 1 + 1?"}]') + 64) / 1000


def serving(*apis: FakeApi, draws: int, before: list[str] | None = None, **more: Any) -> list[Any]:
    """What so many calls of a teacher at these endpoints came to, exceptions too; `before`: addresses before them."""

    async def ask() -> list[Any]:
        for api in apis:
            await api.__aenter__()
        try:
            urls = [*(before or []), *(api.base_url for api in apis)]
            weights = more.pop("weights", [1.0] * len(urls))
            ends = tuple(EndpointSettings(base_url=u, weight=w) for u, w in zip(urls, weights, strict=True))
            settings = TeacherSettings(model="m", endpoints=ends, served_by="all", stream=False, **more)
            async with alone(settings) as teacher:
                calls = [teacher.answer(call(draw)) for draw in range(draws)]
                return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            for api in apis:
                await api.__aexit__()

    return asyncio.run(ask())


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def test_an_endpoint_that_refuses_connections_costs_no_answer() -> None:
    good = FakeApi([whole()])
    answers = serving(good, before=[closed_port()], draws=30)
    assert [answer.outcome for answer in answers] == ["answered"] * 30
    assert len(good.seen) == 30


def test_an_endpoint_that_refuses_the_key_is_asked_no_more_and_the_others_answer() -> None:
    closed, good = FakeApi([error(401)]), FakeApi([whole()])
    answers = serving(closed, good, draws=30)
    assert [answer.outcome for answer in answers] == ["answered"] * 30
    # No more than were open when the first refusal came: half of them all.
    assert len(closed.seen) <= 15
    assert len(good.seen) == 30


def test_when_all_endpoints_are_unusable_the_line_says_why() -> None:
    apis = FakeApi([error(401)]), FakeApi([error(404, "no such model")])
    said = serving(*apis, draws=12)
    assert {type(one) for one in said} == {Stop}
    assert "refuses the key" in str(said[0])


def test_endpoints_get_their_share_by_weight() -> None:
    async def slowly(request: Any) -> Any:
        await asyncio.sleep(0.01)
        return await whole()(request)

    three, one = FakeApi([slowly]), FakeApi([slowly])
    answers = serving(three, one, draws=80, weights=[3.0, 1.0])
    assert len(answers) == len(three.seen) + len(one.seen) == 80
    assert len(three.seen) == 60


def test_each_endpoint_gets_its_own_key_and_model_and_no_other_s() -> None:
    apis = FakeApi([whole()]), FakeApi([whole()])

    async def ask() -> None:
        async with apis[0], apis[1]:
            ends = [
                EndpointSettings(base_url=apis[0].base_url, api_key_env="A"),
                EndpointSettings(base_url=apis[1].base_url, api_key_file="/b", model="other-name"),
            ]
            settings = TeacherSettings(model="m", endpoints=tuple(ends), served_by="all", stream=False)
            teacher = alone(settings)
            teacher.places = places_of(ends, settings, ["key-a", "key-b"])
            assert "key-a" not in repr(teacher.places)
            async with teacher:
                await asyncio.gather(*(teacher.answer(call(draw)) for draw in range(10)))

    asyncio.run(ask())
    assert {headers["Authorization"] for headers in apis[0].headers} == {"Bearer key-a"}
    assert {headers["Authorization"] for headers in apis[1].headers} == {"Bearer key-b"}
    assert {request["model"] for request in apis[0].seen} == {"m"}
    assert {request["model"] for request in apis[1].seen} == {"other-name"}


def test_a_key_comes_from_a_file_and_a_bad_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"  {KEY}\n")
    assert secret(None, str(file)) == KEY
    for content in (b"", b" \n", b"two words of " + KEY.encode(), b"\xff\xfe" + KEY.encode()):
        file.write_bytes(content)
        with pytest.raises(Stop, match="key") as stopped:
            secret(None, str(file))
        assert KEY not in str(stopped.value)
        assert str(file) in str(stopped.value)
    with pytest.raises(Stop, match=r"nowhere.*is not set"):
        secret(None, str(tmp_path / "nowhere"))


def test_a_budget_without_prices_is_one_line_at_load(tmp_path: Path) -> None:
    recipe = Path(__file__).resolve().parent.parent / "jobs" / "recipes" / "gsm8k.yaml"
    unknown = ["teacher.prompt_usd_per_mtok=null", "budget_usd=5"]
    with pytest.raises(BadRecipe, match=r"budget_usd needs the teacher's prices") as refused:
        load(str(recipe), unknown)
    assert "\n" not in str(refused.value)
    both = ["teacher.prompt_usd_per_mtok=0", "teacher.completion_usd_per_mtok=1", "budget_usd=5"]
    assert load(str(recipe), both).budget_usd == 5


def bought(path: Path, *responses: Any, draws: int = 1, **more: Any) -> tuple[list[Entry], list[Entry], list[str]]:
    """Calls bought through the real client into a ledger: the final entries, the failed ones, and why any is left."""
    api, ledger = FakeApi(list(responses)), Ledger(Store(str(path)), PART)

    async def ask() -> list[str]:
        async with api:
            settings = TeacherSettings(model="m", base_url=api.base_url, **(PRICES | more))
            async with alone(settings, api_key=KEY) as engine:
                return await buy(
                    [call(draw) for draw in range(draws)],
                    engine=engine,
                    ledger=ledger,
                    known={},
                    truncated=Truncated(),
                    slots=asyncio.Semaphore(1),
                    invocation="now",
                    told=id,
                )

    left = asyncio.run(ask())
    return list(ledger.read().values()), ledger.failed, left


START = b'data: {"choices": [{"delta": {"content": "half of"}}]}\n\n'


def test_a_call_that_broke_off_in_the_middle_is_charged_at_its_worst_and_shows_as_unsure(tmp_path: Path) -> None:
    (entry,), failed, left = bought(tmp_path, raw(START, broken=True), stream({"content": "\\boxed{2}"}))
    assert (entry.outcome, entry.reply, entry.attempts, failed, left) == ("answered", "\\boxed{2}", 2, [], [])
    # 10 prompt tokens and 30 of completion were billed for the answer.
    assert entry.cost_usd == pytest.approx(0.31)
    assert entry.unsure_usd == pytest.approx(WORST)
    total = listed(Store(str(tmp_path))).total
    assert (total.cost_usd, total.unsure_usd) == pytest.approx((0.31, WORST))


def test_a_call_that_never_ends_well_is_in_the_ledger_with_what_it_may_have_cost(tmp_path: Path) -> None:
    final, (entry,), (why,) = bought(tmp_path, raw(START, broken=True), max_attempts=2)
    assert final == []
    assert (entry.outcome, entry.attempts, entry.cost_usd) == ("failed", 2, 0.0)
    assert entry.unsure_usd == pytest.approx(2 * WORST)
    assert why == entry.why != ""
    assert {group.outcome for group in listed(Store(str(tmp_path))).groups} == {"failed"}


def test_an_error_before_any_answer_costs_nothing(tmp_path: Path) -> None:
    (entry,), _, _ = bought(tmp_path, error(503, Retry_After="0"), error(429, Retry_After="0"), whole(), stream=False)
    assert (entry.attempts, entry.unsure_usd) == (3, 0.0)


def test_an_answer_without_usage_is_kept_and_unsure_up_to_its_worst(tmp_path: Path) -> None:
    for number, usage in enumerate((None, {}, "many", [1], {"prompt_tokens": None}, {"completion_tokens": "30"})):
        for streams in (False, True):
            response = whole(usage=usage)
            if streams:
                event = {"choices": [{"delta": {"content": "\\boxed{2}"}, "finish_reason": "stop"}], "usage": usage}
                response = raw(f"data: {json.dumps(event)}\n\n".encode(), b"data: [DONE]\n\n")
            (entry,), _, _ = bought(tmp_path / f"{number}{streams}", response, stream=streams)
            assert (entry.outcome, entry.reply, entry.attempts) == ("answered", "\\boxed{2}", 1)
            assert entry.cost_usd + entry.unsure_usd == pytest.approx(WORST), usage
            assert entry.cost_usd > 0


def test_an_odd_usage_never_makes_a_cost_negative_or_an_entry_that_can_not_be_written(tmp_path: Path) -> None:
    odd = [
        USAGE | {"prompt_tokens_details": {"cached_tokens": 10_000}},
        USAGE | {"prompt_tokens_details": [], "completion_tokens_details": "none"},
        USAGE | {"completion_tokens_details": {"reasoning_tokens": -5}},
        USAGE | {"prompt_tokens": 10.5},
        {"prompt_tokens": -10, "completion_tokens": 10**30},
        {"prompt_tokens": True, "completion_tokens": 30},
    ]
    for number, usage in enumerate(odd):
        (entry,), _, _ = bought(tmp_path / str(number), whole(usage=usage), stream=False, cached_usd_per_mtok=0)
        assert (entry.outcome, entry.reply) == ("answered", "\\boxed{2}")
        assert 0 < entry.cost_usd <= entry.cost_usd + entry.unsure_usd < 2 * WORST
        assert min(entry.prompt_tokens, entry.cached_tokens, entry.thought_tokens, entry.reply_tokens) >= 0


def test_bad_replies_of_every_kind_are_a_reason_or_an_answer(tmp_path: Path) -> None:
    whole_bad = [raw(), raw(b"<html>no JSON</html>"), raw(b"{"), raw(b"\x00\xff\xfe"), raw(b"[" * 100_000)]
    whole_bad += [body(value) for value in (None, 1, "text", {"error": "odd"}, {"choices": [{"message": {}}] * 0})]
    whole_bad += [whole(finish_reason=reason) for reason in (["stop"], {"a": 1}, 7, "", "odd")]
    whole_bad += [whole(message={"content": content}) for content in (7, {"text": "x"}, [7], [["x"]])]
    for number, response in enumerate(whole_bad):
        final, (entry,), (why,) = bought(tmp_path / f"w{number}", response, stream=False, max_attempts=1)
        assert (final, entry.outcome) == ([], "failed"), number
        # It was an answer of some kind, so it may have been billed.
        assert entry.unsure_usd == pytest.approx(WORST)
        assert why
    event = b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": %s}]}\n\n'
    stream_bad = [raw(), raw(b"data: [DONE]\n\n"), raw(b"\x00" * 1000), raw(START[:30]), raw(event % b'["stop"]')]
    stream_bad += [raw(b'data: {"choices": %s}\n\n' % value) for value in (b"7", b'{"a": 1}', b"[7]", b"[[]]")]
    for number, response in enumerate(stream_bad):
        final, (entry,), _ = bought(tmp_path / f"s{number}", response, max_attempts=1)
        assert (final, entry.outcome) == ([], "failed"), number
        assert entry.unsure_usd == pytest.approx(WORST)


def test_what_can_be_read_is_an_answer_however_odd(tmp_path: Path) -> None:
    long = "Lösung " * 1_600_000
    assert len(long.encode()) > 10_000_000
    plain = {"usage": USAGE}

    def sent(content: bytes) -> Any:
        choice = b'{"message": {"content": "%s"}, "finish_reason": "stop"}' % content
        return raw(b'{"choices": [%s], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}' % choice)

    kinds = [
        (whole("", **plain), ""),
        (whole(long, **plain), long.strip()),
        (sent(b"not \xff UTF-8"), "not \ufffd UTF-8"),
        (sent(b"half a pair: \\ud83d."), "half a pair: ?."),
        (sent(b"a whole pair: \\ud83d\\ude00"), "a whole pair: \U0001f600"),
        (sent(b"nul \\u0000 inside"), "nul \0 inside"),
        (whole(message={"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}), "ab"),
    ]
    for number, (response, reply) in enumerate(kinds):
        (entry,), failed, left = bought(tmp_path / str(number), response, stream=False)
        assert (entry.outcome, entry.attempts, failed, left) == ("answered", 1, [], []), number
        assert entry.reply == reply


def test_no_key_is_in_any_file_whatever_the_endpoint_says(tmp_path: Path) -> None:
    said = f"Authorization: Bearer {KEY}"
    for number, response in enumerate(
        (error(400, f"content {said}"), error(500, said, Retry_After="0"), raw(said.encode()))
    ):
        bought(tmp_path / str(number), response, stream=False, max_attempts=1)
    entries = [
        entry
        for number in range(3)
        for ledger in [Ledger(Store(str(tmp_path / str(number))), PART)]
        for entry in (*ledger.read().values(), *ledger.failed)
    ]
    assert len(entries) == 3
    assert all(entry.why and KEY not in repr(entry) for entry in entries)
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
