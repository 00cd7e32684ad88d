"""Uploaded and made files, as the batch API handles them: POST /v1/files, GET /v1/files/{id}, its content."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web


@dataclass(frozen=True, slots=True)
class File:
    """A file's name, bytes and purpose (batch, or batch_output for those that it made)."""

    id: str
    name: str
    purpose: str
    content: bytes
    created_at: int

    def told(self) -> dict[str, Any]:
        """The API's description of it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """The files there are; they are gone when the server is."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}

    def add(self, name: str, purpose: str, content: bytes) -> File:
        """Keep a new file."""
        # No running number: an id of an earlier server must not name another file here.
        file = File(f"file-{secrets.token_hex(12)}", name, purpose, content, int(time.time()))
        self._files[file.id] = file
        return file

    def find(self, file_id: Any) -> File | None:
        """The file of an id."""
        return self._files.get(file_id) if isinstance(file_id, str) else None

    async def upload(self, request: web.Request) -> web.Response:
        """POST /v1/files: multipart with `purpose` (batch) and `file`."""
        if not request.content_type.startswith("multipart/"):
            return refuse(400, "a file is uploaded as multipart/form-data")
        form = await request.post()
        file, purpose = form.get("file"), form.get("purpose")
        if purpose != "batch":
            return refuse(400, f"purpose is {purpose!r}; the stand-in teacher takes batch")
        if not isinstance(file, web.FileField):
            return refuse(400, "the upload has no field `file` with a file name")
        return web.json_response(self.add(file.filename, "batch", file.file.read()).told())

    async def describe(self, request: web.Request) -> web.Response:
        """GET /v1/files/{id}."""
        file = self.find(request.match_info["id"])
        return refuse(404, "no such file") if file is None else web.json_response(file.told())

    async def content(self, request: web.Request) -> web.Response:
        """GET /v1/files/{id}/content: the bytes."""
        file = self.find(request.match_info["id"])
        if file is None:
            return refuse(404, "no such file")
        return web.Response(body=file.content, content_type="application/octet-stream")


def refuse(status: int, message: str) -> web.Response:
    """An error in the API's form."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return web.Response(body=orjson.dumps({"error": error}), status=status, content_type="application/json")
