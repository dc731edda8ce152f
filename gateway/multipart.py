"""Answers in parts, `multipart/mixed`: the events of a subscription as Apollo's clients read them, and what @defer leaves for
later.

Each part is followed by its boundary at once, since clients take a part for complete only then.
"""

from __future__ import annotations

from graphql import OperationType

from gateway.accept import Form, ranges
from gateway.errors import Told
from gateway.execution import write_json
from gateway.incremental import Wire

MEDIA_TYPE = "multipart/mixed"
BOUNDARY = "graphql"
OPENING = f"\r\n--{BOUNDARY}".encode()
CLOSING = b"--\r\n"
HEARTBEAT_S = 5.0


def _content_type(spec: str) -> str:
    return f'{MEDIA_TYPE};boundary="{BOUNDARY}";{spec}'


def _part(body: bytes) -> bytes:
    return b"\r\ncontent-type: application/json; charset=utf-8\r\n\r\n" + body + OPENING


class EventParts:
    """The events of a subscription, each as `payload`. An error of the stream itself stands beside a payload of null."""

    content_type = _content_type("subscriptionSpec=1.0")
    opening = OPENING
    silence = _part(b"{}")
    silence_s = HEARTBEAT_S
    complete = CLOSING

    def each(self, body: bytes) -> bytes:
        """One event."""
        return _part(b'{"payload":' + body + b"}")

    def last(self, error: Told, *, resumable: bool) -> bytes:
        """The end of the stream, with its reason."""
        return _part(write_json({"payload": None, "errors": [error]})) + self.complete


class DeferredParts:
    """What is there at once, then what was deferred. Nothing is said in between: no client reads it, and the deadline is near."""

    opening = OPENING
    silence = b""
    silence_s = HEARTBEAT_S
    complete = CLOSING

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.content_type = _content_type(wire.value)

    def each(self, body: bytes) -> bytes:
        """One response."""
        return _part(body)

    def last(self, error: Told, *, resumable: bool) -> bytes:
        """The end of the answer, with its reason."""
        return _part(write_json({"errors": [error], "hasNext": False})) + self.complete


_EVENTS = EventParts()
_DEFERRED = {wire: DeferredParts(wire) for wire in Wire}


def chosen_parts(accept: str | None, kind: OperationType, *, deferred: bool) -> EventParts | DeferredParts | None:
    """The parts to answer in, None where the client takes none, or there are none.

    Who has written @defer (`deferred`) gets parts wherever in the header they stand; it would not have written it otherwise.
    Events come in parts to whoever names their specification, unless it would rather have server-sent events.
    """
    if kind is not OperationType.SUBSCRIPTION and not deferred:
        return None
    offered = [
        (one.weight, one.parameters) for one in ranges(accept or "") if one.media_type == MEDIA_TYPE and one.weight > 0
    ]
    if kind is OperationType.SUBSCRIPTION:
        streams = [one.weight for one in ranges(accept or "") if one.media_type == Form.STREAM.value]
        wanted = max((weight for weight, told in offered if told.get("subscriptionspec") == "1.0"), default=0.0)
        return _EVENTS if wanted > 0 and wanted >= max(streams, default=0.0) else None
    for _, told in sorted(offered, key=lambda one: -one[0]):
        if told.get("incrementalspec") == "v0.2":
            return _DEFERRED[Wire.TODAY]
        if told.get("deferspec") == "20220824":
            return _DEFERRED[Wire.OF_2022]
        if not told.keys() - {"boundary"}:
            return _DEFERRED[Wire.TODAY]
    return None
