"""Answers that hit their cap: kept, asked again with a higher cap, or continued; every part is paid for and held."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi, error, whole
from pydantic import ValidationError
from rows import call

from pipeline.endpoints import TeacherSettings
from pipeline.generate import buy
from pipeline.ledger import Call, Entry, Ledger
from pipeline.store import Store
from pipeline.teacher import alone
from pipeline.truncated import Truncated, chain, joined

RAISE = Truncated(policy="raise", max_tokens=400)
CONTINUE = Truncated(policy="continue", rounds=3)
USAGE = {"prompt_tokens": 10, "completion_tokens": 100}


def cut(content: str, **more: Any) -> Any:
    return whole(content, finish_reason="length", usage=USAGE, **more)


def bought(path: Path, policy: Truncated, *responses: Any, **more: Any) -> tuple[Entry, list[Entry], FakeApi]:
    """One call through the real client: the joined answer, the entries of its chain as stored, and the endpoint."""
    api, ledger = FakeApi(list(responses)), Ledger(Store(str(path)), "distill/shard-00000")
    asked = call(0, engine="thinker @ here")
    settings = {"continues": "continue_final_message", "stream": False, "completion_usd_per_mtok": 1e4} | more

    async def one() -> None:
        teacher = TeacherSettings(model="thinker", base_url=api.base_url or "http://h/v1", served_by="here", **settings)
        async with api:
            teacher = teacher.model_copy(update={"base_url": api.base_url})
            async with alone(teacher) as engine:
                engine.proven = True
                unfinished = await buy(
                    [asked],
                    engine=engine,
                    ledger=ledger,
                    known=ledger.read(),
                    truncated=policy,
                    slots=asyncio.Semaphore(1),
                    invocation="now",
                    told=id,
                )
                assert unfinished == []

    asyncio.run(one())
    held, missing = chain(asked, ledger.read(), policy)
    assert missing is None
    return joined(held), held, api


def test_a_kept_answer_stays_as_it_is(tmp_path: Path) -> None:
    answer, held, api = bought(tmp_path, Truncated(), cut("<think>\nhalf of"))
    assert len(api.seen) == len(held) == 1
    assert answer == held[0]
    assert (answer.thought, answer.reply, answer.finish_reason) == ("half of", "", "length")


def test_a_raised_cap_asks_once_more_for_the_whole_and_only_then(tmp_path: Path) -> None:
    answer, held, api = bought(tmp_path / "cut", RAISE, cut("<think>\nhalf"), whole("<think>\nall\n</think>\n\n2"))
    assert [request["max_tokens"] for request in api.seen] == [100, 400]
    assert api.seen[0]["messages"] == api.seen[1]["messages"]
    assert (answer.thought, answer.reply, answer.finish_reason) == ("all", "2", "stop")
    # $0.01 a completion token: 100 and 30 of them.
    assert answer.cost_usd == pytest.approx(1.3) == pytest.approx(sum(entry.cost_usd for entry in held))
    assert answer.key == call(0, engine="thinker @ here").key != held[1].key
    twice, _, api = bought(tmp_path / "twice", RAISE, cut("<think>\nhalf"), cut("<think>\nmore"), whole())
    assert len(api.seen) == 2
    assert (twice.thought, twice.finish_reason) == ("more", "length")
    _, held, api = bought(tmp_path / "whole", RAISE, whole("2"))
    assert len(api.seen) == len(held) == 1


def test_a_continued_answer_goes_on_from_where_it_was_cut_for_several_rounds(tmp_path: Path) -> None:
    parts = (cut("<think>\nOne and one"), cut(" make"), whole(" two.\n</think>\n\n\\boxed{2}", usage=USAGE))
    answer, held, api = bought(tmp_path, CONTINUE, *parts)
    sent = [request["messages"][1:] for request in api.seen]
    assert sent == [
        [],
        [{"role": "assistant", "content": "<think>\nOne and one"}],
        [{"role": "assistant", "content": "<think>\nOne and one make"}],
    ]
    assert [request.get("continue_final_message") for request in api.seen] == [None, True, True]
    assert (answer.thought, answer.reply) == ("One and one make two.", "\\boxed{2}")
    assert answer.finish_reason == "stop"
    assert answer.thought_tokens + answer.reply_tokens == 300
    assert answer.cost_usd == pytest.approx(3.0)
    assert answer.attempts == 3
    assert answer.seconds == pytest.approx(sum(entry.seconds for entry in held))
    # All of it is in the ledger: nothing is asked again.
    again, _, api = bought(tmp_path, CONTINUE, whole("other"))
    assert api.seen == []
    assert again == answer


def test_rounds_are_the_most_and_more_rounds_buy_the_difference(tmp_path: Path) -> None:
    two = Truncated(policy="continue", rounds=2)
    answer, held, api = bought(tmp_path, two, cut("<think>\na"), cut(" b"), cut(" c"), whole("never"))
    assert len(api.seen) == len(held) == 3
    assert (answer.thought, answer.reply, answer.finish_reason) == ("a b c", "", "length")
    answer, _, api = bought(tmp_path, CONTINUE, whole(" d\n</think>\n\n2"))
    assert len(api.seen) == 1
    assert (answer.thought, answer.reply) == ("a b c d", "2")


def test_the_joined_text_is_the_text_that_was_asked_for(tmp_path: Path) -> None:
    # A prefix is sent without the white space at its end; joined with it, the number 12 would read 1 2.
    parts = (cut("<think>\nso it is"), cut(" 1 "), whole("2\n</think>\n\n\\boxed{12}"))
    answer, _, api = bought(tmp_path, CONTINUE, *parts)
    assert api.seen[2]["messages"][-1]["content"] == "<think>\nso it is 1"
    assert answer.thought == "so it is 12"


def test_a_reply_that_was_cut_goes_on_behind_its_closed_thought(tmp_path: Path) -> None:
    answer, held, api = bought(tmp_path, CONTINUE, cut("<think>\na\n</think>\n\nThe an"), whole("swer is \\boxed{2}"))
    assert api.seen[1]["messages"][-1]["content"] == "<think>\na\n</think>\n\nThe an"
    assert (answer.thought, answer.reply) == ("a", "The answer is \\boxed{2}")
    assert answer.reply_tokens == held[0].reply_tokens + 30


def test_an_endpoint_that_keeps_the_thought_apart_can_go_on_with_it(tmp_path: Path) -> None:
    first = cut("", message={"reasoning_content": "One and"})
    rest = whole("\\boxed{2}", message={"reasoning_content": " one."})
    answer, _, api = bought(tmp_path, CONTINUE, first, rest)
    assert api.seen[1]["messages"][-1]["content"] == "<think>\nOne and"
    assert (answer.thought, answer.reply) == ("One and one.", "\\boxed{2}")


def test_a_refusal_in_the_middle_leaves_what_was_bought_as_truncated_and_paid(tmp_path: Path) -> None:
    refused = error(400, "content policy")
    for name, policy, first in (("c", CONTINUE, ("<think>\na", "<think>\na")), ("r", RAISE, ("<think>\na", ""))):
        answer, held, api = bought(tmp_path / name, policy, cut(first[0]), refused)
        assert [entry.outcome for entry in held] == ["answered", "refused"]
        assert (answer.outcome, answer.thought, answer.finish_reason) == ("answered", "a", "length")
        assert answer.cost_usd == pytest.approx(1.0)
        assert (answer.attempts, len(api.seen)) == (2, 2)
    filtered = whole("", finish_reason="content_filter", usage=USAGE)
    answer, _, _ = bought(tmp_path / "f", CONTINUE, cut("<think>\na"), filtered)
    assert (answer.finish_reason, answer.cost_usd) == ("length", pytest.approx(2.0))


def test_deepseeks_prefix_is_marked_on_the_message(tmp_path: Path) -> None:
    _, _, api = bought(tmp_path, CONTINUE, cut("<think>\na"), whole(" b\n</think>\n\n2"), continues="prefix")
    assert api.seen[1]["messages"][-1] == {"role": "assistant", "content": "<think>\na", "prefix": True}
    assert "continue_final_message" not in api.seen[1]


def test_each_step_of_a_chain_has_a_key_of_its_own(tmp_path: Path) -> None:
    _, held, _ = bought(tmp_path, CONTINUE, cut("<think>\na"), cut(" b"), whole(" c\n</think>\n\n2"))
    assert len({entry.key for entry in held}) == 3
    other: Call = call(1, engine="thinker @ here")
    _, missing = chain(other, {entry.key: entry for entry in held}, CONTINUE)
    assert missing == other


def test_only_raise_takes_a_cap_and_needs_one() -> None:
    for wrong in ({"policy": "raise"}, {"policy": "keep", "max_tokens": 5}, {"policy": "continue", "max_tokens": 5}):
        with pytest.raises(ValidationError, match="needs max_tokens"):
            Truncated(**wrong)
    assert json.loads(RAISE.model_dump_json())["policy"] == "raise"


def test_a_forced_answer_closes_the_thought_and_is_asked_for_its_end(tmp_path: Path) -> None:
    force = Truncated(policy="force", max_tokens=25)
    answer, held, api = bought(tmp_path / "thought", force, cut("<think>\nhalf of"), whole(" \\boxed{2}"))
    last = {"role": "assistant", "content": "<think>\nhalf of\n</think>\n\nFinal answer:"}
    assert api.seen[1]["messages"] == [*api.seen[0]["messages"], last]
    assert [request["max_tokens"] for request in api.seen] == [100, 25]
    assert (answer.thought, answer.reply, answer.finish_reason) == ("half of", "Final answer: \\boxed{2}", "stop")
    assert (answer.thought_tokens, answer.reply_tokens) == (held[0].thought_tokens, held[0].reply_tokens + 30)
    assert (answer.key, answer.prompt_tokens) == (held[0].key, 10)
    assert answer.cost_usd == pytest.approx(1.3)
    # Its answer is cut too: it is not forced again.
    answer, held, api = bought(tmp_path / "again", force, cut("<think>\nhalf of"), cut(" \\boxed{2"))
    assert (len(api.seen), answer.finish_reason, answer.reply) == (2, "length", "Final answer: \\boxed{2")


def test_an_answer_within_its_budget_is_kept_and_one_cut_in_its_reply_just_goes_on(tmp_path: Path) -> None:
    force = Truncated(policy="force", max_tokens=25)
    answer, held, api = bought(tmp_path / "whole", force, whole("<think>\na\n</think>\n\n2"))
    assert (len(api.seen), len(held), answer.reply) == (1, 1, "2")
    answer, _, api = bought(tmp_path / "reply", force, cut("<think>\na\n</think>\n\nIt is"), whole(" 2."))
    assert api.seen[1]["messages"][-1]["content"] == "<think>\na\n</think>\n\nIt is"
    assert (answer.thought, answer.reply) == ("a", "It is 2.")
    # A model that knows no tags thinks in its reply.
    answer, _, api = bought(tmp_path / "plain", force, cut("So one and"), whole(" 2."))
    assert api.seen[1]["messages"][-1]["content"] == "So one and\n\nFinal answer:"
    assert (answer.thought, answer.reply) == ("", "So one and\n\nFinal answer: 2.")
    refused = error(400, "content policy")
    answer, held, _ = bought(tmp_path / "refused", force, cut("<think>\nhalf of"), refused)
    assert [entry.outcome for entry in held] == ["answered", "refused"]
    assert (answer.outcome, answer.thought, answer.reply, answer.finish_reason) == ("answered", "half of", "", "length")
