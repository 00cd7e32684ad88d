"""The stand-in's troubles: latency, errors, odd replies, and a port that must be free again."""

import asyncio
import json
import math
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError
from standin_api import Api, Got, recorded, talk

from pipeline.standin.latency import latency
from pipeline.standin.settings import StandinSettings

ROOT = Path(__file__).resolve().parent.parent
TEXT = "abcdefghij" * 20
"""200 characters: four events of 64, 64, 64 and 8."""
KINDS = (
    "empty_body",
    "empty_content",
    "huge",
    "not_json",
    "not_utf8",
    "no_done",
    "no_usage",
    "error_event",
    "comments",
    "crlf",
    "html_502",
)


def test_the_latency_is_lognormal_around_its_median_and_the_same_each_time() -> None:
    settings = StandinSettings(latency_s=2.0, latency_sigma=0.5)
    drawn = [latency(settings, "a question", seed) for seed in range(2000)]
    assert drawn == [latency(settings, "a question", seed) for seed in range(2000)]
    logs = [math.log(each / 2.0) for each in drawn]
    # Standard errors 0.011 and 0.008.
    assert abs(statistics.mean(logs)) < 0.05
    assert abs(statistics.stdev(logs) - 0.5) < 0.035
    assert {latency(StandinSettings(latency_s=2.0), "a question", seed) for seed in range(9)} == {2.0}


def test_each_answer_takes_the_latency_that_the_helper_says() -> None:
    settings = {"latency_s": 0.05, "latency_sigma": 1.0}

    async def timed(api: Api) -> None:
        for seed in range(8):
            started = time.monotonic()
            assert (await api.ask("Reverse this list of words: a, b", seed=seed)).status == 200
            took = time.monotonic() - started
            told = latency(StandinSettings(**settings), "Reverse this list of words: a, b", seed)
            assert told - 0.005 <= took < told + 3.0

    talk(timed, **settings)


def test_errors_come_at_once_or_after_the_latency() -> None:
    async def timed(api: Api) -> tuple[int, float]:
        started = time.monotonic()
        got = await api.ask()
        return got.status, time.monotonic() - started

    for trouble, status in (({"share_429": 1.0}, 429), ({"share_500": 1.0}, 500), ({"odd": {"html_502": 1.0}}, 502)):
        told, took = talk(timed, latency_s=1.0, **trouble)
        assert (told, took < 0.8) == (status, True)
        told, took = talk(timed, latency_s=1.0, errors_after_latency=True, **trouble)
        assert (told, took >= 0.99) == (status, True)


def odd(tmp_path: Path, kind: str, *, stream: bool) -> Got:
    """The odd reply of one kind to a request whose answer is TEXT."""

    async def asked(api: Api) -> Got:
        got = await api.ask("Say it.", stream=stream)
        stats = await api.stats()
        assert stats["odd"] == {kind: 1}
        assert stats["requests"] == {str(got.status): 1}
        return got

    return talk(asked, **recorded(tmp_path, **{"Say it.": TEXT}), odd={kind: 1.0})


def reasons(got: Got) -> list[Any]:
    return [choice["finish_reason"] for event in got.events for choice in event.get("choices", [])]


def test_odd_whole_replies(tmp_path: Path) -> None:
    got = {kind: odd(tmp_path, kind, stream=False) for kind in KINDS}
    assert {kind: each.status for kind, each in got.items() if each.status != 200} == {"html_502": 502}
    assert got["empty_body"].body == b""
    assert (got["empty_content"].message["content"], got["empty_content"].finish_reason) == ("", "stop")
    assert len(got["huge"].message["content"]) == 10_000_200
    with pytest.raises(json.JSONDecodeError):
        json.loads(got["not_json"].body)
    with pytest.raises(UnicodeDecodeError):
        got["not_utf8"].body.decode()
    assert json.loads(got["not_utf8"].body.decode(errors="replace"))["choices"][0]["message"]["content"] == TEXT + "�"
    assert got["no_done"].finish_reason is None
    assert (got["no_usage"].message["content"], "usage" in got["no_usage"].value) == (TEXT, False)
    assert list(got["error_event"].value) == ["error"]
    assert (got["comments"].body[:2], got["comments"].message["content"]) == (b"\n\n", TEXT)
    assert (got["crlf"].body[-2:], got["crlf"].message["content"]) == (b"\r\n", TEXT)
    assert got["html_502"].headers["Content-Type"].startswith("text/html")
    assert b"<h1>502 Bad Gateway</h1>" in got["html_502"].body


def test_odd_streams(tmp_path: Path) -> None:
    got = {kind: odd(tmp_path, kind, stream=True) for kind in KINDS}
    assert all(each.whole for each in got.values())
    done = {kind for kind, each in got.items() if each.body.rstrip().endswith(b"data: [DONE]")}
    assert done == set(KINDS) - {"empty_body", "no_done", "html_502"}
    assert got["empty_body"].body == b""
    assert (got["empty_content"].streamed("content"), reasons(got["empty_content"])) == ("", ["stop"])
    assert len(got["huge"].streamed("content")) == 10_000_200
    with pytest.raises(json.JSONDecodeError):
        _ = got["not_json"].events
    # Who skips the broken event loses the third piece.
    lines = [line for line in got["not_json"].body.decode().split("\n\n") if line.endswith("}")]
    pieces = [choice["delta"].get("content", "") for line in lines for choice in json.loads(line[6:])["choices"]]
    assert "".join(pieces) == TEXT[:128] + TEXT[192:]
    with pytest.raises(UnicodeDecodeError):
        got["not_utf8"].body.decode()
    assert (got["no_done"].streamed("content"), reasons(got["no_done"])) == (TEXT[:128], [None, None])
    assert got["no_usage"].streamed("content") == TEXT
    assert not any("usage" in event for event in got["no_usage"].events)
    assert [list(event) for event in got["error_event"].events[2:]] == [["error"]]
    assert got["error_event"].streamed("content") == TEXT[:128]
    # Four pieces, the finish, the usage and [DONE].
    assert got["comments"].body.count(b": ping\n\ndata: ") == 7
    assert got["comments"].streamed("content") == TEXT
    assert got["crlf"].body.count(b"\r\n\r\n") == got["crlf"].body.count(b"\n") / 2 == 7


def test_what_is_cut_off_is_billed_as_far_as_it_was_made(tmp_path: Path) -> None:
    async def asked(api: Api) -> Any:
        got = await api.ask("Say it.", stream=True)
        return got.whole, await api.stats()

    # "Say it." is 7 characters; of TEXT 64 or 128 of its 200 were made, at four a token.
    for settings, whole, made in (
        ({"share_dropped": 1.0}, False, 16),
        ({"odd": {"no_done": 1.0}}, True, 32),
        ({"odd": {"error_event": 1.0}}, True, 32),
        ({"odd": {"not_json": 1.0}}, True, 50),
        ({"odd": {"empty_content": 1.0}}, True, 0),
    ):
        ended, stats = talk(asked, **recorded(tmp_path, **{"Say it.": TEXT}), **settings)
        assert ended == whole
        assert stats["billed"] == {"requests": 1, "prompt_tokens": 2, "completion_tokens": made}
    assert talk(asked, **recorded(tmp_path, **{"Say it.": TEXT}), share_500=1.0)[1]["billed"]["requests"] == 0


def test_a_client_that_goes_away_is_billed_the_whole_answer(tmp_path: Path) -> None:
    async def asked(api: Api) -> Any:
        for stream in (True, False):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(api.ask("Say it.", stream=stream, seed=stream), 0.1)
        until = time.monotonic() + 5
        while (stats := await api.stats())["in_flight"] and time.monotonic() < until:
            await asyncio.sleep(0.05)
        return stats

    stats = talk(asked, **recorded(tmp_path, **{"Say it.": TEXT}), latency_s=0.4)
    assert stats["billed"] == {"requests": 2, "prompt_tokens": 4, "completion_tokens": 100}
    assert stats["distinct"] == 2
    assert stats["requests"]["gone"] == 1


def test_troubles_come_by_their_shares() -> None:
    async def asked(api: Api) -> Any:
        await api.several(600)
        return await api.stats()

    stats = talk(asked, share_429=0.1, share_500=0.1, odd={"html_502": 0.2, "no_usage": 0.3})
    # Of 600: standard deviations 7.3, 7.3, 9.8 and 11.2.
    for count, expected, slack in (
        (stats["requests"]["429"], 60, 30),
        (stats["requests"]["500"], 60, 30),
        (stats["odd"]["html_502"], 120, 40),
        (stats["odd"]["no_usage"], 180, 45),
    ):
        assert abs(count - expected) < slack
    assert stats["requests"]["502"] == stats["odd"]["html_502"]
    assert sum(stats["requests"].values()) == 600


def test_shares_that_make_more_than_all_are_refused() -> None:
    for odd in ({"huge": 0.6, "crlf": 0.6}, {"huge": -0.1}, {"hug": 0.1}):
        with pytest.raises(ValidationError):
            StandinSettings(odd=odd)
    assert StandinSettings(share_429=0.1, share_500=0.2, odd={"crlf": 0.7}).odd == {"crlf": 0.7}


def test_the_port_of_a_killed_standin_can_be_served_again_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = StandinSettings(latency_s=30).model_dump_json()
    command = [sys.executable, "-m", "pipeline.standin.server", "127.0.0.1", str(port)]
    # The second way: its owner is killed, and it must notice and let the port go.
    owner = (
        "import subprocess, sys, time\n"
        f"served = subprocess.Popen({command!r}, stdin=subprocess.PIPE)\n"
        f"served.stdin.write({asked!r}.encode() + b'\\n'); served.stdin.flush(); time.sleep(60)\n"
    )
    for started in (command, [sys.executable, "-c", owner], command):
        with subprocess.Popen(started, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(asked.encode() + b"\n")
            server.stdin.flush()
            assert server.stdout.readline().decode().strip() == f"http://127.0.0.1:{port}/v1"
            assert _open_when_killed(port, server) == 1


def _open_when_killed(port: int, server: "subprocess.Popen[bytes]") -> int:
    """Kill the server while a request is open; how many were."""

    async def asked() -> int:
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(Api(f"http://127.0.0.1:{port}", session).ask())
            await asyncio.sleep(0.2)
            opened = await asyncio.to_thread(_in_flight, port)
            server.send_signal(signal.SIGKILL)
            asking.cancel()
            return opened

    return asyncio.run(asked())


def _in_flight(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as reply:
        return int(json.load(reply)["in_flight"])
