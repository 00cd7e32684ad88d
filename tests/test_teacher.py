"""The teacher's client, against servers on real sockets."""

import asyncio
import contextlib
import json
import socket
from typing import Any

import pytest
from aiohttp import web
from fake_api import FakeApi, body, error, raw, stream, whole
from pydantic import ValidationError
from rows import call

from pipeline.endpoints import TeacherSettings
from pipeline.errors import Stop
from pipeline.generate import Answer, Unfinished
from pipeline.teacher import alone

KEY = "sk-very-secret-0123456789"


def settings(base_url: str, **more: Any) -> TeacherSettings:
    return TeacherSettings(model="thinker", base_url=base_url, **more)


def ask(*responses: Any, key: str | None = None, **more: Any) -> tuple[Answer, FakeApi]:
    """The answer of one call to a fake endpoint with these responses; what it raises is raised."""
    api = FakeApi(list(responses))

    async def one() -> Answer:
        async with api, alone(settings(api.base_url, **more), api_key=key) as teacher:
            return await teacher.answer(call(3))

    return asyncio.run(one()), api


def test_a_streamed_answer_is_put_together() -> None:
    answer, api = ask(stream({"role": "assistant"}, {"content": "\\bo"}, {"content": "xed{2}"}))
    assert (answer.outcome, answer.reply, answer.thought, answer.finish_reason) == (
        "answered",
        "\\boxed{2}",
        "",
        "stop",
    )
    assert (answer.prompt_tokens, answer.thought_tokens, answer.reply_tokens) == (10, 0, 30)
    assert answer.attempts == 1
    assert api.seen[0]["stream"] is True
    assert api.seen[0]["stream_options"] == {"include_usage": True}


def test_a_whole_answer_is_the_same_answer() -> None:
    streamed, _ = ask(stream({"reasoning_content": "hm"}, {"content": "\\boxed{2}"}))
    plain, api = ask(whole(message={"reasoning_content": "hm"}), stream=False)
    assert plain == streamed
    assert "stream" not in api.seen[0]


def test_the_request_carries_what_the_call_says() -> None:
    _, api = ask(
        whole(), stream=False, extra_body={"reasoning_effort": "high"}, max_tokens_field="max_completion_tokens"
    )
    assert api.seen == [
        {
            "model": "thinker",
            "messages": [{"role": "user", "content": "What is 1 + 1?"}],
            "temperature": 0.6,
            "top_p": 0.95,
            "max_completion_tokens": 100,
            "seed": 3,
            "reasoning_effort": "high",
        }
    ]
    _, api = ask(whole(), stream=False, send_seed=False)
    assert "seed" not in api.seen[0]


def test_reasoning_is_kept_as_the_thought_under_both_its_names() -> None:
    for name in ("reasoning_content", "reasoning"):
        answer, _ = ask(stream({name: "One and "}, {name: "one."}, {"content": "\\boxed{2}"}))
        assert (answer.thought, answer.reply) == ("One and one.", "\\boxed{2}")
        answer, _ = ask(whole(message={name: "One and one."}), stream=False)
        assert (answer.thought, answer.reply) == ("One and one.", "\\boxed{2}")


def test_an_inline_thought_is_split_off() -> None:
    answer, _ = ask(
        stream({"content": "<think>\nOne and"}, {"content": " one.</thi"}, {"content": "nk>\n\n\\boxed{2}"})
    )
    assert (answer.thought, answer.reply) == ("One and one.", "\\boxed{2}")


def test_usage_and_cost_are_the_endpoints_own() -> None:
    usage = {
        "prompt_tokens": 1000,
        "prompt_tokens_details": {"cached_tokens": 600},
        "completion_tokens": 5000,
        "completion_tokens_details": {"reasoning_tokens": 4500},
    }
    prices = {"prompt_usd_per_mtok": 2.0, "cached_usd_per_mtok": 0.5, "completion_usd_per_mtok": 8.0}
    for streams, response in ((True, stream({"content": "2"}, usage=usage)), (False, whole("2", usage=usage))):
        answer, _ = ask(response, stream=streams, **prices)
        assert (answer.prompt_tokens, answer.cached_tokens) == (1000, 600)
        assert (answer.thought_tokens, answer.reply_tokens) == (4500, 500)
        # 400 x $2 + 600 x $0.5 + 5000 x $8, a million
        assert answer.cost_usd == pytest.approx(0.0411)
    uncached, _ = ask(whole("2", usage=usage), stream=False, **(prices | {"cached_usd_per_mtok": None}))
    assert uncached.cost_usd == pytest.approx(0.042)


def test_thought_tokens_are_shared_out_when_the_endpoint_does_not_count_them() -> None:
    answer, _ = ask(stream({"reasoning_content": "t" * 20}, {"content": "r" * 10}))
    assert (answer.thought_tokens, answer.reply_tokens) == (20, 10)


def test_an_endpoint_without_usage_is_still_counted() -> None:
    answer, _ = ask(stream({"content": "r" * 400}, usage={"prompt_tokens": 0}))
    assert 50 < answer.reply_tokens < 200


def test_a_truncated_answer_says_so_and_its_open_thought_is_no_reply() -> None:
    answer, _ = ask(stream({"content": "<think>maybe \\boxed{2}"}, finish_reason="length"))
    assert (answer.finish_reason, answer.thought, answer.reply) == ("length", "maybe \\boxed{2}", "")


def test_a_limit_is_waited_out_for_as_long_as_it_says() -> None:
    answer, api = ask(error(429, Retry_After="0.6"), error(429, Retry_After="0.3"), stream({"content": "\\boxed{2}"}))
    assert (answer.reply, answer.attempts) == ("\\boxed{2}", 3)
    first, second, third = api.at_s
    assert 0.6 <= second - first < 3
    assert 0.3 <= third - second < 3


def test_a_limit_can_be_a_date_on_the_servers_clock() -> None:
    clock = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry_After": "Wed, 21 Oct 2015 07:28:01 GMT"}
    answer, api = ask(error(429, **clock), whole(), stream=False)
    assert answer.outcome == "answered"
    assert 1.0 <= api.at_s[1] - api.at_s[0] < 4


def test_a_date_without_a_zone_or_sense_is_retried_all_the_same() -> None:
    for said in ("Wed, 21 Oct 2015 07:28:01 -0000", "soon", "-1", "nan"):
        answer, _ = ask(error(429, Retry_After=said), whole(), stream=False)
        assert answer.outcome == "answered", said


def test_a_limit_holds_everyone() -> None:
    api = FakeApi([error(429, Retry_After="0.8"), whole()])

    async def several() -> list[Answer]:
        async with api, alone(settings(api.base_url, stream=False)) as teacher:
            first = asyncio.create_task(teacher.answer(call(0)))
            while not api.seen:
                await asyncio.sleep(0.001)
            # The 429 is on its way back; the others must come after it.
            await asyncio.sleep(0.1)
            others = [teacher.answer(call(draw)) for draw in range(1, 4)]
            return await asyncio.gather(first, *others)

    assert len(asyncio.run(several())) == 4
    assert len(api.at_s) == 5
    assert min(api.at_s[1:]) - api.at_s[0] >= 0.8


def test_limits_do_not_count_as_failed_attempts_but_have_a_patience() -> None:
    answer, api = ask(*[error(429, Retry_After="0")] * 4, whole(), stream=False, max_attempts=1)
    assert (answer.outcome, answer.attempts, len(api.seen)) == ("answered", 5, 5)
    with pytest.raises(Stop, match=r"asks to wait 1\.0 h \(HTTP 429: slow down\)"):
        ask(error(429, "slow down", Retry_After="3601"), stream=False)


def test_server_errors_are_tried_again() -> None:
    for status in (500, 502, 503, 408):
        answer, api = ask(error(status, Retry_After="0"), whole(), stream=False)
        assert (answer.outcome, answer.attempts, len(api.seen)) == ("answered", 2, 2)


def test_a_call_through_errors_only_is_left_for_the_next_run() -> None:
    with pytest.raises(Unfinished, match=r"HTTP 503: overloaded"):
        ask(error(503, "overloaded", Retry_After="0"), stream=False, max_attempts=3)


def test_a_bad_request_is_refused_with_the_servers_words() -> None:
    answer, api = ask(error(400, "it breaks our\ncontent policy"))
    assert (answer.outcome, answer.why) == ("refused", "HTTP 400: it breaks our content policy")
    assert len(api.seen) == 1


def test_a_context_that_is_too_small_is_the_recipes_fault_until_something_was_answered() -> None:
    too_long = error(400, "maximum context length is 4096")
    with pytest.raises(Unfinished, match="maximum context length"):
        ask(too_long)
    api = FakeApi([whole(), too_long])

    async def two() -> Answer:
        async with api, alone(settings(api.base_url, stream=False)) as teacher:
            await teacher.answer(call(0))
            return await teacher.answer(call(1))

    assert asyncio.run(two()).outcome == "refused"


def test_a_call_that_fails_in_every_run_while_others_are_answered_is_given_up_with_a_reason() -> None:
    async def third_run(before: int) -> Answer:
        api = FakeApi([error(500), whole(), error(500)])
        async with api, alone(settings(api.base_url, stream=False, max_attempts=3)) as teacher:
            poison, fine = call(0), call(1)
            teacher.failed_before[poison.key] = before
            teacher.proven = True
            asked = asyncio.create_task(teacher.answer(poison))
            while not api.seen:
                await asyncio.sleep(0.001)
            await teacher.answer(fine)
            return await asked

    assert asyncio.run(third_run(2)).outcome == "refused"
    with pytest.raises(Unfinished):
        asyncio.run(third_run(1))


def test_a_wait_longer_than_anyones_patience_ends_the_run_with_its_hours() -> None:
    with pytest.raises(Stop, match=r"asks to wait 24\.0 h"):
        ask(error(429, Retry_After="86400"), stream=False)
    answer, _ = ask(whole(), stream=False)
    assert answer.outcome == "answered"


def test_thoughts_left_out_of_the_completion_are_paid_for_too() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 30_011}
    answer, _ = ask(whole("2", usage=usage), stream=False, completion_usd_per_mtok=10.0)
    assert answer.cost_usd == pytest.approx(0.30001)
    half, _ = ask(whole("2", usage={"prompt_tokens": 10}), stream=False, completion_usd_per_mtok=10.0)
    # 100 tokens are the cap: what is not counted may have been all of it.
    assert half.cost_usd + half.unsure_usd == pytest.approx(100 * 10 / 1e6)


def test_a_filtered_answer_is_refused() -> None:
    answer, _ = ask(stream({"content": "half"}, finish_reason="content_filter"))
    assert (answer.outcome, answer.why, answer.reply) == ("refused", "content_filter", "")


def test_a_wrong_key_stops_and_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Stop, match=r"refuses the key.*MY_KEY") as stopped:
        ask(error(401, f"Incorrect API key provided: {KEY}"), key=KEY, api_key_env="MY_KEY")
    assert KEY not in f"{stopped.value!r} {stopped.value} {stopped.value.__cause__!r} {stopped.value.__context__!r}"
    assert KEY not in repr(alone(settings("http://127.0.0.1:1/v1"), api_key=KEY))
    assert KEY not in "".join(capsys.readouterr())
    with pytest.raises(Stop, match=r"set teacher\.api_key_env"):
        ask(error(403))


def test_a_key_that_the_server_repeats_is_not_passed_on() -> None:
    answer, api = ask(error(400, f"content policy: Bearer {KEY}"), key=KEY)
    assert api.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert (answer.outcome, KEY in answer.why) == ("refused", False)
    with pytest.raises(Unfinished) as left:
        ask(error(500, f"crashed on Bearer {KEY}"), key=KEY, max_attempts=1)
    assert KEY not in str(left.value)


def test_an_unknown_model_stops_with_its_name() -> None:
    with pytest.raises(Stop, match=r"no model 'thinker'.*no such model"):
        ask(error(404, "no such model"))


def test_a_refused_connection_stops_with_one_line_that_names_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

        async def one() -> Answer:
            async with alone(settings(address, max_attempts=1)) as teacher:
                return await teacher.answer(call())

        with pytest.raises(Stop, match=r"can't be reached.*teacher\.base_url") as stopped:
            asyncio.run(one())
    assert address in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_a_stream_that_breaks_off_is_asked_again() -> None:
    start = b'data: {"choices": [{"delta": {"content": "half of"}}]}\n\n'
    ends = [raw(start, broken=True), raw(start), raw(start, b'data: {"error": {"message": "overloaded"}}\n\n')]
    ends += [raw(start, b"data: {broken\n\n"), raw(start, b"data: [DONE]\n\n")]
    answers = [FakeApi([end, stream({"content": "\\boxed{2}"})]) for end in ends]

    async def one(api: FakeApi) -> Answer:
        async with api, alone(settings(api.base_url)) as teacher:
            return await teacher.answer(call())

    async def each() -> list[Answer]:
        return await asyncio.gather(*(one(api) for api in answers))

    for answer, api in zip(asyncio.run(each()), answers, strict=True):
        assert (answer.reply, answer.attempts, len(api.seen)) == ("\\boxed{2}", 2, 2)


def test_a_connection_lost_before_the_answer_began_may_be_billed_and_a_refused_one_is_not() -> None:
    async def vanish(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    prices = {"prompt_usd_per_mtok": 1.0, "completion_usd_per_mtok": 10.0}
    answer, _ = ask(vanish, whole(), stream=False, **prices)
    assert answer.attempts == 2
    assert answer.cost_usd == pytest.approx((10 + 30 * 10) / 1e6)
    # The most that one request can cost: max_tokens of the call, and no fewer prompt tokens than characters.
    assert answer.unsure_usd >= (100 * 10 + len("What is 1 + 1?")) / 1e6
    answer, _ = ask(error(503), whole(), stream=False, **prices)
    assert answer.unsure_usd == 0
    # Each such try may cost money, so there are only so many of them, of an endpoint that has answered too.
    api = FakeApi([whole(), vanish])

    async def both() -> None:
        async with api, alone(settings(api.base_url, stream=False, max_attempts=2)) as teacher:
            await teacher.answer(call(1))
            with pytest.raises((Stop, Unfinished)):
                await teacher.answer(call(2))

    asyncio.run(both())
    assert len(api.seen) == 3


def test_an_answer_of_an_odd_shape_is_an_unfinished_call_and_no_crash() -> None:
    odd = [
        body(value) for value in ([], "text", {"choices": []}, {"choices": [None]}, {"choices": [{"message": None}]})
    ]
    for response in odd:
        with pytest.raises(Unfinished):
            ask(response, stream=False, max_attempts=1)
    for event in (b"[]", b'"text"', b'{"choices": [null]}', b'{"choices": [{"delta": "text"}]}'):
        with pytest.raises(Unfinished):
            ask(raw(b"data: " + event + b"\n\n"), max_attempts=1)


def test_a_line_of_a_megabyte_in_small_pieces_works() -> None:
    text = "Lösung " * 150_000
    event = {"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}
    sent = f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
    assert len(sent) > 1_000_000
    answer, _ = ask(raw(*(sent[at : at + 65_521] for at in range(0, len(sent), 65_521)), b"data: [DONE]\n\n"))
    assert answer.reply == text.strip()


def test_comments_other_fields_and_carriage_returns_are_passed_over() -> None:
    event = b'data:{"choices":[{"delta":{"content":"2"},"finish_reason":"stop"}]}'
    answer, _ = ask(raw(b": keep-alive\r\n\r\n", b"event: message\r\nid: 1\r\n" + event + b"\r\n\r\n"))
    assert answer.reply == "2"


def test_settings_need_one_address_and_tell_who_answers() -> None:
    for both in ({}, {"base_url": "http://h/v1", "standin": {}}):
        with pytest.raises(ValidationError, match="either base_url"):
            TeacherSettings(model="m", **both)
    # The key's place, prices and speed are no part of who answers; the model, the host and further fields are.
    same = [settings("http://h/v1", in_flight=9), settings("http://h/v1", api_key_env="K", completion_usd_per_mtok=1)]
    other = [
        settings("http://i/v1"),
        settings("http://h/v1", extra_body={"a": 1}),
        settings("http://h/v1", served_by="x"),
    ]
    with pytest.raises(ValidationError, match="no user, password or query"):
        settings("http://user:password@h/v1")
    me = settings("http://h/v1").identity
    assert {one.identity for one in same} == {me}
    assert "password" not in me
    assert len({me, *(one.identity for one in other)}) == 4


def test_a_refusal_before_any_answer_is_never_final() -> None:
    # Such as max_tokens where the endpoint wants max_completion_tokens: the recipe's fault, not the problem's.
    with pytest.raises(Unfinished, match=r"unsupported parameter"):
        ask(error(400, "unsupported parameter: max_tokens"), stream=False)


def test_a_teacher_that_refuses_everything_stops_the_run() -> None:
    api = FakeApi([error(400, "unsupported parameter: max_tokens")])

    async def many() -> None:
        async with api, alone(settings(api.base_url, stream=False)) as teacher:
            for draw in range(20):
                with contextlib.suppress(Unfinished):
                    await teacher.answer(call(draw))

    with pytest.raises(Stop, match=r"refuses every request \(HTTP 400: unsupported parameter"):
        asyncio.run(many())
    assert len(api.seen) == 10


def test_an_answer_that_the_endpoint_broke_off_is_asked_again() -> None:
    cut = whole("the answer is", finish_reason="insufficient_system_resource")
    answer, api = ask(cut, whole("\\boxed{2}"), stream=False)
    assert (answer.reply, len(api.seen)) == ("\\boxed{2}", 2)


def test_an_empty_balance_stops_the_run() -> None:
    with pytest.raises(Stop, match=r"wants to be paid"):
        ask(error(402, "Insufficient Balance"), stream=False)


def test_a_key_that_the_endpoint_repeats_is_cut_out_wherever_the_text_ends() -> None:
    key = "sk-" + "k" * 60
    for text in (f"{'x' * 170} {key}", key):
        with pytest.raises(Unfinished) as unfinished:
            ask(error(503, text, Retry_After="0"), stream=False, max_attempts=1, key=key)
        assert "kkk" not in str(unfinished.value)
