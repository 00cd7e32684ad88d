"""Odd replies: what real APIs and what stands before them send now and then.

empty_body     200 and no byte
empty_content  an answer with no text that ends like any other
huge           the answer and ten million characters after it
not_json       the body breaks off in the middle; in a stream, one event does
not_utf8       the answer ends on a byte that is no UTF-8
no_done        the answer has no finish_reason; a stream ends quietly after half of the text, with no [DONE]
no_usage       the usage is missing
error_event    200, then an error: the whole body, or an event after half of the text, and [DONE]
comments       empty lines before the body; in a stream, comment lines (": ping") before each event
crlf           lines end on CRLF
html_502       a proxy's page
dropped        (share_dropped) a stream's connection is closed after one event
"""

from dataclasses import replace
from typing import Any

import orjson

from pipeline.standin.answers import Said
from pipeline.standin.asked import Asked
from pipeline.standin.replies import deltas, frame, frames, produced, whole
from pipeline.standin.settings import StandinSettings

HTML_502 = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
HUGE_CHARS = 10_000_000
_HUGE_CHUNK = 65_536
_ERROR = {"error": {"message": "the server broke off", "type": "server_error", "code": 500}}
_MARK = "\ue000"
"""Stands for the byte that is no UTF-8 until the text is bytes."""


def body(asked: Asked, said: Said, settings: StandinSettings, kind: str | None) -> tuple[bytes, int]:
    """The body of an answer that isn't streamed, odd or not, and the completion tokens that it is billed for."""
    said = _altered(said, kind)
    answer: dict[str, Any] = whole(asked, said, settings)
    if kind == "no_usage":
        del answer["usage"]
    elif kind == "no_done":
        answer["choices"][0]["finish_reason"] = None
    return _written(orjson.dumps(_ERROR if kind == "error_event" else answer), kind), said.completion_tokens


def stream(asked: Asked, said: Said, settings: StandinSettings, kind: str | None) -> tuple[list[bytes], int]:
    """The frames of a streamed answer, odd or not, and the completion tokens that it is billed for."""
    said = _altered(said, kind)
    pieces = deltas(said, settings, size=_HUGE_CHUNK if kind == "huge" else settings.chunk_chars)
    if kind in ("dropped", "no_done", "error_event"):
        pieces = pieces[: 1 if kind == "dropped" else (len(pieces) + 1) // 2]
        parts = frames(asked, said, settings, pieces)
        end = [frame(_ERROR), parts[-1]] if kind == "error_event" else []
        return parts[: len(pieces)] + end, produced(said, settings, pieces)
    return _odd_frames(frames(asked, said, settings, pieces), kind), said.completion_tokens


def _altered(said: Said, kind: str | None) -> Said:
    if kind == "empty_content":
        return Said("", "")
    if kind == "huge":
        return replace(said, content=said.content + "and so on " * (HUGE_CHARS // 10))
    return replace(said, content=said.content + _MARK) if kind == "not_utf8" else said


def _written(text: bytes, kind: str | None) -> bytes:
    match kind:
        case "empty_body":
            return b""
        case "not_json":
            return text[: len(text) // 2]
        case "not_utf8":
            return text.replace(_MARK.encode(), b"\xff")
        case "comments":
            return b"\n\n\n" + text
        case "crlf":
            return text + b"\r\n"
        case _:
            return text


def _odd_frames(parts: list[bytes], kind: str | None) -> list[bytes]:
    match kind:
        case "empty_body":
            return []
        case "not_json":
            middle = (len(parts) - 3) // 2
            broken = parts[middle].rstrip()
            return [*parts[:middle], broken[: len(broken) // 2] + b"\n\n", *parts[middle + 1 :]]
        case "not_utf8":
            return [part.replace(_MARK.encode(), b"\xff") for part in parts]
        case "no_usage":
            return [*parts[:-2], parts[-1]]
        case "comments":
            return [b": ping\n\n" + part for part in parts]
        case "crlf":
            return [part.replace(b"\n", b"\r\n") for part in parts]
        case _:
            return parts
