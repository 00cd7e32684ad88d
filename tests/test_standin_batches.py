"""The stand-in's batch API, driven by a plain client."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from standin_api import Api, recorded, talk

URL = "/v1/chat/completions"


def line(name: str, question: str = "Why?", **body: Any) -> dict[str, Any]:
    """One request of a batch."""
    asked = {"model": "m", "messages": [{"role": "user", "content": question}], **body}
    return {"custom_id": name, "method": "POST", "url": URL, "body": asked}


def jsonl(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


async def upload(api: Api, content: bytes, purpose: str = "batch") -> Any:
    form = aiohttp.FormData()
    form.add_field("purpose", purpose)
    form.add_field("file", content, filename="asked.jsonl", content_type="application/jsonl")
    async with api.session.post(f"{api.url}/v1/files", data=form) as reply:
        return reply.status, await reply.json()


async def make(api: Api, content: bytes, **changes: Any) -> Any:
    _, file = await upload(api, content)
    asked = {"input_file_id": file["id"], "endpoint": URL, "completion_window": "24h", **changes}
    return (await api.post("/v1/batches", asked)).value


async def ended(api: Api, batch_id: str) -> tuple[Any, list[str]]:
    """The batch when nothing more will happen to it, and the statuses that were seen."""
    seen: list[str] = []
    until = time.monotonic() + 20
    while time.monotonic() < until:
        batch = (await api.get(f"/v1/batches/{batch_id}")).value
        if batch["status"] not in seen:
            seen.append(batch["status"])
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return batch, seen
        await asyncio.sleep(0.01)
    raise AssertionError(f"the batch never ended: {seen}")


async def lines_of(api: Api, file_id: str | None) -> dict[str, Any]:
    """The lines of a file that a batch made, by custom_id."""
    if file_id is None:
        return {}
    got = await api.get(f"/v1/files/{file_id}/content")
    lines = [json.loads(text) for text in got.body.splitlines()]
    assert len({each["custom_id"] for each in lines}) == len(lines)
    return {each["custom_id"]: each for each in lines}


def test_a_file_is_kept_as_it_was_uploaded() -> None:
    async def asked(api: Api) -> None:
        status, file = await upload(api, b'{"a": 1}\n')
        assert (status, file["object"], file["bytes"], file["purpose"]) == (200, "file", 9, "batch")
        assert file["filename"] == "asked.jsonl"
        assert (await api.get(f"/v1/files/{file['id']}")).value == file
        assert (await api.get(f"/v1/files/{file['id']}/content")).body == b'{"a": 1}\n'
        assert (await upload(api, b"x", purpose="fine-tune"))[0] == 400
        assert (await api.post("/v1/files", {"purpose": "batch"})).status == 400
        for path in ("/v1/files/file-0", "/v1/files/file-0/content", "/v1/batches/batch_0"):
            assert (await api.get(path)).status == 404

    talk(asked)


def test_a_batch_says_what_the_plain_endpoint_says() -> None:
    problem = "Reverse this list of words: sun, moon, star"

    async def asked(api: Api) -> None:
        lines = [line(f"n{seed}", problem, seed=seed, max_tokens=45) for seed in range(30)]
        started = time.monotonic()
        made = await make(api, jsonl(lines), metadata={"run": "r1"})
        assert (made["status"], made["metadata"], made["output_file_id"]) == ("validating", {"run": "r1"}, None)
        batch, seen = await ended(api, made["id"])
        assert 0.5 <= time.monotonic() - started < 5
        assert seen[:2] == ["validating", "in_progress"]
        assert seen[-1] == "completed"
        assert batch["request_counts"] == {"total": 30, "completed": 30, "failed": 0}
        assert batch["error_file_id"] is None
        billed = (await api.stats())["billed"]
        told = await lines_of(api, batch["output_file_id"])
        for seed in range(30):
            response = told[f"n{seed}"]["response"]
            assert (response["status_code"], told[f"n{seed}"]["error"]) == (200, None)
            assert response["body"] == (await api.ask(problem, seed=seed, max_tokens=45)).value
        # In no order that could be relied on.
        assert list(told) != [each["custom_id"] for each in lines]
        stats = await api.stats()
        assert (stats["batches"], stats["distinct"]) == (1, 30)
        assert stats["billed"] == {name: 2 * count for name, count in billed.items()}

    talk(asked, batch_s=0.5)


def test_lines_that_fail_are_in_the_error_file(tmp_path: Path) -> None:
    async def asked(api: Api) -> None:
        lines = [line(f"n{number}", seed=number) for number in range(200)] + [line("odd", "Unknown?")]
        batch, _ = await ended(api, (await make(api, jsonl(lines)))["id"])
        told, failed = await lines_of(api, batch["output_file_id"]), await lines_of(api, batch["error_file_id"])
        counted = batch["request_counts"]
        assert (counted["completed"], counted["failed"]) == (len(told), len(failed))
        assert set(told) | set(failed) == {each["custom_id"] for each in lines}
        # 40 of 200 expected, standard deviation 5.7.
        assert 20 <= len(failed) <= 62
        assert {each["response"]["status_code"] for name, each in failed.items() if name != "odd"} == {500}
        assert failed["odd"]["response"]["status_code"] in (400, 500)
        assert (await api.stats())["billed"]["requests"] == len(told)
        # Another batch of the same lines fails on others.
        other, _ = await ended(api, (await make(api, jsonl(lines)))["id"])
        assert set(await lines_of(api, other["error_file_id"])) != set(failed)

    talk(asked, **recorded(tmp_path, **{"Why?": "So."}), batch_s=0, share_batch_errors=0.2)


def test_an_expired_batch_has_what_was_done(tmp_path: Path) -> None:
    async def asked(api: Api) -> None:
        lines = [line(f"n{number}", seed=number) for number in range(5)]
        batch, _ = await ended(api, (await make(api, jsonl(lines)))["id"])
        assert (batch["status"], batch["request_counts"]["completed"]) == ("expired", 2)
        told, failed = await lines_of(api, batch["output_file_id"]), await lines_of(api, batch["error_file_id"])
        assert (set(told), set(failed)) == ({"n0", "n1"}, {"n2", "n3", "n4"})
        assert {(each["response"], each["error"]["code"]) for each in failed.values()} == {(None, "batch_expired")}
        assert (await api.stats())["billed"]["requests"] == 2

    settings = {"batch_s": 0.1, "share_batch_expired": 1.0, "batch_expired_done": 0.3}
    talk(asked, **recorded(tmp_path, **{"Why?": "So."}), **settings)


def test_a_cancelled_batch_has_what_was_done(tmp_path: Path) -> None:
    async def asked(api: Api) -> None:
        lines = [line(f"n{number}", seed=number) for number in range(100)]
        made = await make(api, jsonl(lines))
        while not (await api.get(f"/v1/batches/{made['id']}")).value["request_counts"]["completed"]:
            await asyncio.sleep(0.01)
        cancelled = (await api.post(f"/v1/batches/{made['id']}/cancel")).value
        assert cancelled["status"] == "cancelling"
        batch, _ = await ended(api, made["id"])
        assert batch["status"] == "cancelled"
        done = batch["request_counts"]["completed"]
        assert 0 < done < 100
        assert len(await lines_of(api, batch["output_file_id"])) == done
        assert (await api.stats())["billed"]["requests"] == done
        assert (await api.post(f"/v1/batches/{made['id']}/cancel")).status == 409
        assert (await api.post("/v1/batches/batch_0/cancel")).status == 404

    talk(asked, **recorded(tmp_path, **{"Why?": "So."}), batch_s=2)


@pytest.mark.parametrize(
    ("content", "code", "number"),
    [
        (jsonl([line("a")]) + b"{broken\n", "invalid_json_line", 2),
        (jsonl([line("a"), line("a")]), "duplicate_custom_id", 2),
        (jsonl([line("a") | {"url": "/v1/embeddings"}]), "invalid_url", 1),
        (jsonl([{"method": "POST", "url": URL, "body": {}}]), "missing_required_parameter", 1),
        (b"\n", "empty_file", None),
        (jsonl([line(str(number)) for number in range(50_001)]), "too_many_requests", None),
    ],
)
def test_a_wrong_file_fails_the_batch_and_says_where(content: bytes, code: str, number: int | None) -> None:
    async def asked(api: Api) -> None:
        batch, seen = await ended(api, (await make(api, content))["id"])
        assert (batch["status"], "in_progress" in seen) == ("failed", False)
        assert [(error["code"], error["line"]) for error in batch["errors"]["data"]] == [(code, number)]
        assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)

    talk(asked, batch_s=0.05)


def test_a_batch_that_cannot_be_made_is_refused() -> None:
    async def asked(api: Api) -> None:
        file = (await upload(api, jsonl([line("a")])))[1]["id"]
        right = {"input_file_id": file, "endpoint": URL, "completion_window": "24h"}
        for wrong in ({"input_file_id": "file-0"}, {"endpoint": "/v1/embeddings"}, {"completion_window": "1h"}):
            assert (await api.post("/v1/batches", right | wrong)).status == 400
        assert (await api.post("/v1/batches", right)).status == 200
        assert (await api.stats())["batches"] == 1

    talk(asked)


def test_the_list_is_paged_from_the_newest() -> None:
    async def asked(api: Api) -> None:
        empty = (await api.get("/v1/batches")).value
        assert (empty["data"], empty["has_more"], empty["last_id"]) == ([], False, None)
        made = [(await make(api, jsonl([line("a")])))["id"] for _ in range(5)]
        pages, after = [], ""
        while True:
            page = (await api.get(f"/v1/batches?limit=2{after}")).value
            pages.append([batch["id"] for batch in page["data"]])
            assert (page["first_id"], page["last_id"]) == (pages[-1][0], pages[-1][-1])
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert pages == [[made[4], made[3]], [made[2], made[1]], [made[0]]]
        for query in ("limit=0", "limit=101", "limit=x", "after=batch_0"):
            assert (await api.get(f"/v1/batches?{query}")).status == 400

    talk(asked)
