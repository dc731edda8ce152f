"""What form of answer a client would rather have, read from its `Accept` header."""

from __future__ import annotations

from enum import Enum

from graphql import OperationType

from gateway.body import BadRequest


class Form(Enum):
    """The media types we speak."""

    GRAPHQL = "application/graphql-response+json"
    JSON = "application/json"
    STREAM = "text/event-stream"


def _ranked(accept: str) -> list[tuple[str, float]]:
    """(media type, weight), the most wanted first, in the header's order among equals; unwanted ones left out."""
    found = []
    for part in accept.lower().split(","):
        kind, *parameters = [piece.strip() for piece in part.split(";")]
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = min(1.0, float(parameter[2:]))
                except ValueError:
                    weight = 0.0
        if kind and weight > 0:
            found.append((kind, weight))
    return sorted(found, key=lambda one: -one[1])


_WILD = {
    "*/*": Form.JSON,
    "application/*": Form.JSON,
    "text/*": Form.STREAM,
}


def _wanted(accept: str | None) -> list[Form]:
    """The forms a client takes, in its order."""
    if accept is None or not accept.strip():
        return [Form.JSON]
    forms = {form.value: form for form in Form} | _WILD
    ranked = [forms[kind] for kind, _ in _ranked(accept) if kind in forms]
    return list(dict.fromkeys(ranked))


def first_form(accept: str | None) -> Form:
    """What the client would like best, for an answer that comes before its operation is known."""
    wanted = _wanted(accept)
    return wanted[0] if wanted else Form.JSON


def plain_form(accept: str | None) -> Form:
    """The same, for an answer that is no GraphQL response and hence no event."""
    wanted = [form for form in _wanted(accept) if form is not Form.STREAM]
    return wanted[0] if wanted else Form.JSON


def chosen_form(accept: str | None, kind: OperationType) -> Form:
    """The form to answer an operation in.

    Clients list event streams among what they take for every query and cannot read one where they expect JSON, so a query is
    streamed only for who puts the stream first. A subscription is always streamed. Raises BadRequest when nothing fits.
    """
    wanted = _wanted(accept)
    if kind is OperationType.SUBSCRIPTION:
        wild = accept is None or not accept.strip() or any(one == "*/*" for one, _ in _ranked(accept))
        if Form.STREAM in wanted or wild:
            return Form.STREAM
        raise BadRequest(
            "A subscription is answered as a stream: send `Accept: text/event-stream`, or use a WebSocket.",
            status=406,
            code="NOT_ACCEPTABLE",
        )
    if wanted:
        return wanted[0]
    raise BadRequest(
        "Answers come as application/graphql-response+json, application/json or text/event-stream.",
        status=406,
        code="NOT_ACCEPTABLE",
    )
