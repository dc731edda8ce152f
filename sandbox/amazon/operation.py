"""One published operation of the API, and a call of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.amazon.auth import Account
from sandbox.amazon.query import Query


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that has passed its token and its plan. `path` holds the decoded path parameters, `headers` has lower-case names.

    A grantless call comes with the account whose access it is about left as the first of the world: it speaks for none.
    """

    account: Account
    path: dict[str, str]
    query: Query
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` as published, e.g. /orders/2026-01-01/orders/{orderId}. `do` answers the body, None for no body.

    `scope` is the grantless scope that its token needs instead of a seller's; `restricted` names the call, as it is written in a
    restricted data token, where only such a token opens it. `code` is the code of its 400s.
    """

    name: str
    method: str
    path: str
    do: Callable[[Asked], Any]
    parameters: tuple[str, ...] = ()
    code: str = "InvalidInput"
    status: int = 200
    scope: str | None = None
    restricted: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        """What its raw paths match, with a group for each parameter."""
        return re.compile("^" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path) + "$")
