"""The shortest way through the edge: a request whose very bytes were answered a moment ago is answered with the same, at once,
and one whose bytes were understood before need not be understood again (`Endpoint.begin`).

Keys, scopes and budgets are asked as on the long way, only without waiting for anybody. Whatever is not plainly the same goes the
long way, which remembers here what it has understood and answered.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import Struct

from executor import Read
from gateway.accept import Form
from gateway.admission import Admission
from gateway.answered import Answered
from gateway.answers import Again, Answers, Kept
from gateway.asgi import NOTED, Scope, Whole, head_lines, named, our_server, request_id
from gateway.auth import Keys
from gateway.body import Request
from gateway.cors import VARY
from gateway.quota import Purse
from resolvers.context import Caller

# What of a request's headers decides on its answer. One with a header of `ELSE` goes the long way, and one of `TRACE` where
# operations are traced.
DECIDES = (b"content-type", b"accept", b"x-acorn-bill", b"x-acorn-deadline-ms")
ELSE = frozenset({b"origin", b"content-encoding"})
TRACE = frozenset({b"traceparent"})
# Where the long way finds what was heard.
HEARD = "acorn.heard"
# Requests that are remembered as understood: so many, of so many bytes, headers included.
MOST_UNDERSTOOD = 1_000
LONGEST = 4 * 1024


@dataclass(slots=True)
class Asked:
    """What a request asks for, in what form it is answered as a whole, and what it costs: the same whenever its bytes and its
    caller's scopes are. `read` are its variables as the plan has read them that ran last."""

    request: Request
    within_s: float
    wants_bill: bool
    form: Form
    points: int
    read: Read | None = None


# The body, and those headers of `DECIDES` that are there.
Words: TypeAlias = tuple[bytes | None, ...]
# The caller's scopes, and what was said with them.
Key: TypeAlias = tuple[frozenset[str], Words]


class Heard(Struct, eq=False):
    """A request of a known caller that has arrived as a whole at our own server, which offers `whole`; `asked` is there where it
    was understood before."""

    _front: Front
    whole: Whole
    _key: Key
    caller: Caller
    asked: Asked | None

    def understood(self, asked: Asked) -> None:
        """The next that is equal asks for the same."""
        self.asked = asked
        if self._size <= LONGEST:
            self._front.keep(self._key, asked)

    @property
    def _size(self) -> int:
        return sum([len(one) for one in self._key[1] if one is not None])

    def answered(self, kept: Kept, form: Form, told: str, points: int) -> None:
        """It was answered with `kept` in this form; `told` is what the log says of its operation."""
        if self._front.answers is not None:
            head = usual_head(form, kept.body)
            self._front.answers.remember(self._key, self._size + len(head), Again(kept, head, told, points))


def usual_head(form: Form, body: bytes) -> str:
    """The head of an answer of status 200 to a program, which sends no origin, up to the lines of the moment."""
    return f"{_JSON if form is _PLAIN else _GRAPHQL}content-length: {len(body)}\r\n"


def moment(id: str, age: int, purse: Purse) -> str:
    """The lines of a head that are an answer's own: `age` in seconds, 0 for one that is new."""
    aged = f"age: {age}\r\n" if age else ""
    return f"{aged}x-request-id: {id}\r\n{purse.head_lines}"


_PLAIN = Form.JSON
_JSON, _GRAPHQL = [
    head_lines({"content-type": f"{form.value}; charset=utf-8", **VARY}) for form in (Form.JSON, Form.GRAPHQL)
]


class Front:
    """Hears POST requests on our own server, and answers those again that were answered; with `answers` of None it only hears."""

    def __init__(
        self, answers: Answers | None, keys: Keys, admission: Admission, answered: Answered, *, traced: bool = False
    ) -> None:
        self.answers = answers
        self._keys = keys
        self._admission = admission
        self._answered = answered
        self._else = ELSE | TRACE if traced else ELSE
        self._understood: dict[Key, Asked] = {}  # the oldest first

    def serve(self, scope: Scope) -> bool:
        """Whether the request has been answered; else it goes the long way, which finds in the scope what was heard."""
        began = time.monotonic()
        whole = our_server(scope)
        if whole is None or (body := whole["body"]()) is None:
            return False
        said = scope.get(NOTED) or self._said(scope, body)
        if said is None or (caller := self._keys.known(said[0])) is None:
            return False
        scope[NOTED] = said
        key = caller.scopes, said[1]
        again = None if self.answers is None else self.answers.again(key, began)
        if again is None or (purse := self._admission.admit_again(caller, again.points)) is None:
            scope[HEARD] = Heard(self, whole, key, caller, self._understood.get(key))
            return False
        id = request_id(scope)
        age = again.kept.age(began)
        whole["answer"](again.head + moment(id, age, purse), again.kept.body)
        self._answered.tell(id, 200, time.monotonic() - began, again.told, caller.name, again.points, age, again=True)
        return True

    def _said(self, scope: Scope, body: bytes) -> tuple[str, Words] | None:
        """(the authorization, what decides on the answer beside its scopes); None of requests that go the long way."""
        if scope["method"] != "POST" or scope["query_string"]:
            return None
        headers = named(scope)
        authorization = headers.get(b"authorization")
        if authorization is None or len(headers) != len(scope["headers"]) or not self._else.isdisjoint(headers):
            return None
        return authorization.decode("latin-1"), (body, *map(headers.get, DECIDES))

    def keep(self, key: Key, asked: Asked) -> None:
        """Requests of this key ask for this."""
        if len(self._understood) >= MOST_UNDERSTOOD:
            del self._understood[next(iter(self._understood))]
        self._understood[key] = asked
