"""What form of answer a client would rather have, read from its `Accept` header as RFC 9110 has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from graphql import OperationType

from gateway.body import BadRequest


class Form(Enum):
    """The media types we speak. Where a client does not care, the first is taken."""

    JSON = "application/json"
    GRAPHQL = "application/graphql-response+json"
    STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Range:
    """One part of an `Accept` header. `weight` is 0 to 1; 0 is what the client does not want."""

    media_type: str
    parameters: Mapping[str, str]
    weight: float

    def fits(self, form: Form) -> int:
        """How exactly this range means the form: 0 not at all, 1 as anything, 2 as one of its kind, 3 by name."""
        if self.parameters.get("charset", "utf-8") not in ("utf-8", "utf8"):
            return 0
        if self.media_type == form.value:
            return 3
        if self.media_type == form.value.partition("/")[0] + "/*":
            return 2
        return 1 if self.media_type == "*/*" else 0


# Characters of a header.
LONGEST = 2_000

# Commas and semicolons within quotes separate nothing.
_PART = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PIECE = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')
# Some leave out the zero before the point, as older versions of Java do.
_WEIGHT = re.compile(r"0\.?|0?\.[0-9]+|1(\.0*)?")


def ranges(accept: str | None) -> tuple[Range, ...]:
    """The parts of the header, in its order; what goes beyond 2,000 characters is not read."""
    return _ranges((accept or "")[:LONGEST])


@lru_cache(maxsize=256)
def _ranges(accept: str) -> tuple[Range, ...]:
    found = []
    for part in _PART.findall(accept.lower()):
        media_type, *given = [piece.strip() for piece in _PIECE.findall(part)] or [""]
        parameters = {
            name.strip(): value.strip().strip('"') for name, _, value in (one.partition("=") for one in given)
        }
        weight = parameters.pop("q", "1")
        if media_type:
            media_type = "*/*" if media_type == "*" else media_type  # as Java's clients write it
            # What cannot be read says nothing: whoever wants none of it writes 0.
            found.append(Range(media_type, parameters, float(weight) if _WEIGHT.fullmatch(weight) else 1.0))
    return tuple(found)


def _wanted(accept: str | None) -> tuple[Form, ...]:
    """The forms a client takes: the heavier ones first, then those that it names, then in its order."""
    if accept is None or not accept.strip():
        return (Form.JSON,)
    return _ranked(accept[:LONGEST])


@lru_cache(maxsize=256)
def _ranked(accept: str) -> tuple[Form, ...]:
    ranked: list[tuple[float, int, int, int, Form]] = []
    for form in Form:
        # The most exact range decides, whatever the others say.
        fitting = [(-one.fits(form), place, one.weight) for place, one in enumerate(ranges(accept)) if one.fits(form)]
        if fitting and (best := min(fitting))[2] > 0:
            ranked.append((-best[2], best[0], best[1], len(ranked), form))
    return tuple(form for *_, form in sorted(ranked, key=lambda one: one[:-1]))


def first_form(accept: str | None) -> Form:
    """What the client would like best, for an answer that comes before its operation is known."""
    wanted = _wanted(accept)
    return wanted[0] if wanted else Form.JSON


def plain_form(accept: str | None) -> Form:
    """The same, for an answer that is no GraphQL response and hence no event."""
    wanted = [form for form in _wanted(accept) if form in (Form.JSON, Form.GRAPHQL)]
    return wanted[0] if wanted else Form.JSON


def takes(accept: str | None, form: Form) -> bool:
    """Whether the client takes this form at all."""
    return form in _wanted(accept)


def wants_page(accept: str | None) -> bool:
    """Whether it is a browser that would show a page: it names HTML, and nothing of ours that it would like better."""
    html = max((one.weight for one in ranges(accept) if one.media_type == "text/html"), default=0.0)
    named = (one.weight for one in ranges(accept) for form in Form if one.fits(form) == 3)
    return html > 0 and html >= max(named, default=0.0)


def chosen_form(accept: str | None, kind: OperationType) -> Form:
    """The form to answer an operation in.

    Clients list event streams among what they take for every query and cannot read one where they expect JSON, so a query is
    streamed only for who puts the stream first. A subscription is always streamed. Raises BadRequest when nothing fits.
    """
    wanted = _wanted(accept)
    if kind is OperationType.SUBSCRIPTION:
        if Form.STREAM in wanted or accept is None or not accept.strip():
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
