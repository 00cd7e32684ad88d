"""What the stand-in says: where the thought goes, caps, withheld and continued answers."""

import re
from pathlib import Path
from typing import Any

import pytest
from standin_api import BACKWARD, Api, Got, recorded, talk

from pipeline.standin.settings import StandinSettings

THOUGHT = (
    "Number the words: 1 sun, 2 moon, 3 star.\n"
    "Now from the last number down to 1.\n"
    "Backward: 3 star, 2 moon, 1 sun.\n"
    "Let me check: the last word was star, now it is first."
)
REPLY = "The answer is \\boxed{star, moon, sun}."


async def plain(api: Api) -> Got:
    return await api.ask()


async def streamed(api: Api) -> Got:
    return await api.ask(stream=True)


def calm(**settings: Any) -> dict[str, Any]:
    """Settings under which seed 0 answers BACKWARD with THOUGHT and REPLY."""
    return {"wrong": 0.0, **settings}


def test_the_thought_is_apart_by_default_and_its_bill_is_four_characters_a_token() -> None:
    got = talk(plain, **calm())
    assert got.message == {"role": "assistant", "content": REPLY, "reasoning_content": THOUGHT}
    assert got.finish_reason == "stop"
    # 43 characters asked, 164 thought, 38 replied.
    assert (len(BACKWARD), len(THOUGHT), len(REPLY)) == (43, 164, 38)
    assert got.usage == {
        "prompt_tokens": 11,
        "completion_tokens": 51,
        "completion_tokens_details": {"reasoning_tokens": 41},
    }


def test_the_thought_goes_where_it_was_told() -> None:
    named = talk(plain, **calm(reasoning="reasoning"))
    assert named.message == {"role": "assistant", "content": REPLY, "reasoning": THOUGHT}
    hidden = talk(plain, **calm(reasoning="hidden"))
    assert hidden.message == {"role": "assistant", "content": REPLY}
    assert hidden.usage["completion_tokens_details"] == {"reasoning_tokens": 41}
    inline = talk(plain, **calm(reasoning="inline"))
    assert inline.message == {"role": "assistant", "content": f"<think>\n{THOUGHT}\n</think>\n\n{REPLY}"}
    assert inline.usage == {"prompt_tokens": 11, "completion_tokens": 51}


def test_a_stream_says_the_same_as_the_whole() -> None:
    for reasoning, name in (
        ("reasoning_content", "reasoning_content"),
        ("reasoning", "reasoning"),
        ("hidden", "none"),
        ("inline", "none"),
    ):
        whole = talk(plain, **calm(reasoning=reasoning))
        stream = talk(streamed, **calm(reasoning=reasoning))
        assert stream.streamed("content") == whole.message["content"]
        assert stream.streamed(name) == (whole.message.get(name) or "")
        assert stream.events[-1]["usage"] == whole.usage
        assert stream.body.endswith(b"data: [DONE]\n\n")


def test_the_cap_cuts_at_four_characters_a_token() -> None:
    async def asked(api: Api) -> list[Got]:
        caps = ({"max_tokens": 10}, {"max_completion_tokens": 45}, {"max_tokens": 51}, {"max_tokens": 50})
        return [await api.ask(**cap) for cap in caps]

    ten, late, enough, short = talk(asked, **calm())
    assert (ten.message["reasoning_content"], ten.message["content"]) == (THOUGHT[:40], "")
    assert (ten.finish_reason, ten.usage["completion_tokens"]) == ("length", 10)
    assert (late.message["reasoning_content"], late.message["content"]) == (THOUGHT, REPLY[:16])
    assert (late.finish_reason, late.usage["completion_tokens"]) == ("length", 45)
    assert (enough.finish_reason, enough.message["content"]) == ("stop", REPLY)
    assert (short.finish_reason, short.message["content"]) == ("length", REPLY[:36])
    cut = talk(asked, **calm(reasoning="inline"))[0]
    assert cut.message["content"] == f"<think>\n{THOUGHT[:40]}"


def test_a_recorded_answer_is_capped_too(tmp_path: Path) -> None:
    async def asked(api: Api) -> Got:
        return await api.ask("Why?", max_tokens=2, stream=True)

    got = talk(asked, **recorded(tmp_path, **{"Why?": "Because it is so."}))
    assert got.streamed("content") == "Because "
    assert [event["choices"][0]["finish_reason"] for event in got.events if event["choices"]] == [None, "length"]


def test_a_share_of_the_answers_is_withheld_and_the_others_stay_as_they_are() -> None:
    async def asked(api: Api) -> list[Got]:
        return await api.several(200)

    free, some, again = talk(asked), talk(asked, share_filtered=0.25), talk(asked, share_filtered=0.25)
    withheld = [got.finish_reason == "content_filter" for got in some]
    # 50 expected, standard deviation 6.1.
    assert 30 <= sum(withheld) <= 72
    assert withheld == [got.finish_reason == "content_filter" for got in again]
    for before, after, gone in zip(free, some, withheld, strict=True):
        assert (after.message["content"] == "") if gone else (after.body == before.body)


def test_it_goes_on_from_every_place_of_its_own_answer() -> None:
    full = f"<think>\n{THOUGHT}\n</think>\n\n{REPLY}"

    async def asked(api: Api) -> None:
        for at in range(len(full) + 1):
            got = await api.ask(said=full[:at], continue_final_message=True, add_generation_prompt=False)
            assert got.status == 200
            assert full[:at] + got.message["content"] == full

    talk(asked, **calm(reasoning="inline"))


def test_thought_and_reply_go_on_apart() -> None:
    async def asked(api: Api) -> None:
        for at in (1, 40, 41, 100, len(THOUGHT)):
            got = await api.ask(said="<think>\n" + THOUGHT[:at], continue_final_message=True)
            assert THOUGHT[:at] + (got.message["reasoning_content"] or "") == THOUGHT
            assert got.message["content"] == REPLY
        for at in (0, 10, len(REPLY)):
            got = await api.ask(said=f"<think>\n{THOUGHT}\n</think>\n\n{REPLY[:at]}", continue_final_message=True)
            assert got.message["reasoning_content"] is None
            assert got.message["content"] == REPLY[at:]

    talk(asked, **calm())


def test_white_space_lost_at_the_seams_is_no_other_beginning() -> None:
    async def asked(api: Api) -> None:
        # Cut after "1 sun, " (25 characters of thought) and stripped; joined to what came next, which was stripped too.
        said = THOUGHT[:25].strip() + THOUGHT[25:60].strip()
        assert said not in THOUGHT
        for lead in ("<think>\n", "<think>", "\n<think>\n\n", ""):
            got = await api.ask(said=lead + said, continue_final_message=True)
            joined = said + got.message["reasoning_content"]
            assert re.sub(r"\s", "", joined) == re.sub(r"\s", "", THOUGHT)
        # The space after "1 sun," is in the text or it comes: never twice, never lost.
        for cut in ("Number the words: 1 sun,", "Number the words: 1 sun, "):
            got = await api.ask(said="<think>\n" + cut, continue_final_message=True)
            assert cut + got.message["reasoning_content"] == THOUGHT

    talk(asked, **calm())


def test_deepseeks_way_of_going_on_and_the_cap_on_the_rest() -> None:
    async def asked(api: Api) -> list[Got]:
        ask = {"role": "user", "content": BACKWARD}
        texts = {"role": "assistant", "prefix": True, "content": "", "reasoning_content": THOUGHT[:50]}
        begun = {"role": "assistant", "prefix": True, "content": REPLY[:7]}
        first = await api.send({"messages": [ask, texts], "seed": 0, "max_tokens": 5})
        return [first, await api.send({"messages": [ask, begun], "seed": 0})]

    thinking, replying = talk(asked, **calm())
    assert thinking.message["reasoning_content"] == THOUGHT[50:70]
    assert (thinking.finish_reason, thinking.usage["completion_tokens"]) == ("length", 5)
    # 43 characters asked; the tag, its line end and 50 characters begun.
    assert thinking.usage["prompt_tokens"] == 11 + 15
    assert replying.message["content"] == REPLY[7:]


def test_a_truncated_answer_is_gone_on_from_to_its_end(tmp_path: Path) -> None:
    text = "<think>\nOne, two.\n</think>\n\nThree: \\boxed{3}"

    async def asked(api: Api) -> None:
        cut = await api.ask("Count.")
        assert cut.finish_reason == "length"
        rest = await api.ask("Count.", said=cut.message["content"], continue_final_message=True)
        assert rest.finish_reason == "stop"
        assert cut.message["content"] + rest.message["content"] == text

    talk(asked, **recorded(tmp_path, **{"Count.": text}), share_truncated=1.0)


def test_a_recorded_answer_with_no_thought_goes_on_with_or_without_the_tag(tmp_path: Path) -> None:
    async def asked(api: Api) -> None:
        for said in ("Two and", "<think>\nTwo and", "Two and "):
            got = await api.ask("Sum?", said=said, continue_final_message=True)
            assert got.message["content"].strip() == "two are four."

    talk(asked, **recorded(tmp_path, **{"Sum?": "Two and two are four."}))


def test_what_it_cannot_go_on_from_is_refused() -> None:
    async def asked(api: Api) -> None:
        other = await api.ask(said="<think>\nNumber the birds", continue_final_message=True)
        assert (other.status, "begins" in other.value["error"]["message"]) == (400, True)
        unasked = await api.ask(said="<think>\nNumber the words")
        assert (unasked.status, "prefix=true" in unasked.value["error"]["message"]) == (400, True)

    talk(asked, **calm())


@pytest.mark.parametrize(
    "body",
    [
        b"{broken",
        b"[]",
        {},
        {"messages": []},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": BACKWARD}], "max_tokens": 0},
    ],
)
def test_a_broken_request_is_refused(body: Any) -> None:
    async def asked(api: Api) -> Got:
        return await api.send(body)

    got = talk(asked)
    assert got.status == 400
    assert got.value["error"]["message"]


def test_only_settings_that_change_answers_are_in_the_identity() -> None:
    before = "stand-in/worked/wrong=0.1/truncated=0"
    trouble = StandinSettings(
        latency_s=1,
        latency_sigma=1,
        errors_after_latency=True,
        odd={"huge": 0.1},
        requests_per_minute=1,
        tokens_per_minute=1,
        tokens_counted="asked",
        rate_headers=True,
        max_in_flight=1,
        batch_s=2,
        share_batch_errors=0.1,
        share_batch_expired=0.1,
        batch_expired_done=0.1,
    )
    assert StandinSettings().identity == trouble.identity == before
    changed = StandinSettings(share_filtered=0.5, reasoning="inline")
    assert changed.identity == f"{before}/filtered=0.5/reasoning=inline"
