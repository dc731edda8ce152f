"""Files that are sent by POST: as the body itself, or in a form."""

from __future__ import annotations

from email import message_from_bytes
from urllib.parse import parse_qs

from gateway.asgi import Scope
from gateway.body import BadRequest
from gateway.rows import is_json_lines

JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/json-lines")


def file_in(content_type: str, body: bytes) -> tuple[bytes, bool]:
    """(the file, whether it is JSON Lines). Raises BadRequest for a form without one, and for what says to be neither."""
    kind = content_type.partition(";")[0].strip().lower()
    name = ""
    if kind == "multipart/form-data":
        form = message_from_bytes(b"content-type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body)
        parts = [one for one in form.walk() if one.get_filename() is not None]
        # A form that was cut in the middle has no last boundary, and its last row may be half of one.
        whole = not any(one.defects for one in form.walk())
        content = parts[0].get_payload(decode=True) if whole and len(parts) == 1 else None
        if not isinstance(content, bytes):
            raise BadRequest("The form must hold one file, whole.")
        body, kind, name = content, parts[0].get_content_type(), str(parts[0].get_filename())
    if kind in JSON_LINES or is_json_lines(name):
        return body, True
    if kind == "text/csv" or name.lower().endswith(".csv"):
        return body, False
    raise BadRequest(
        f"Send the file as text/csv or {JSON_LINES[0]}, or in a form as multipart/form-data.",
        status=415,
    )


def parameters(scope: Scope) -> dict[str, str]:
    """What the address says behind its question mark, the last of each name."""
    return {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}


def flag(told: dict[str, str], name: str) -> bool:
    """A parameter that is true or false, by default false. Raises BadRequest."""
    if told.get(name, "false") not in ("true", "false"):
        raise BadRequest(f"`{name}` must be true or false.")
    return told.get(name) == "true"
