"""What one operation carries: who asks, until when, on which bill, and what went wrong beside the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from msgspec import Struct

from domain.budget import Ask, Bill
from domain.errors import Forbidden, HouseError
from resolvers.loaders import Loaders
from resolvers.shelf import Shelf
from resolvers.stock_answer import Basis

__all__ = ["Caller", "Context", "Shelf"]

_NOTHING = Bill()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `name` is what operations are signed with, and what budgets are kept by.

    After `expires_at` it is nobody any more. What it may spend a minute, in points of the processor and in calls to platforms, is
    None where the settings' budget holds.
    """

    name: str
    scopes: frozenset[str]
    expires_at: datetime | None = None
    points_per_minute: int | None = None
    calls_per_minute: int | None = None

    def needs(self, any_of: frozenset[str]) -> None:
        """Raises Forbidden unless the caller holds one of the scopes."""
        if self.scopes.isdisjoint(any_of):
            wanted = " or ".join(sorted(any_of))
            raise Forbidden(f"This key lacks the scope {wanted}. Ask an administrator for a key that has it.")


class Context(Struct, eq=False):
    """One operation of one caller.

    `asking` is its `ask`, or makes it when somebody looks. `problems` are failures that blank nothing, as (response path, error);
    the edge adds them to `errors`. Loaders live as long as one operation; a subscription renews them with each event, so that
    none remembers an older world. `basis` is there where the answer may be given again; `personal` says that it holds what each
    reader has to be named for in the log.
    """

    shelf: Shelf
    caller: Caller
    asking: Ask | Callable[[], Ask]
    request_id: str
    problems: list[tuple[list[str | int], HouseError]] = []
    basis: Basis | None = None
    personal: bool = False
    _loaders: Loaders | None = None

    @property
    def ask(self) -> Ask:
        """How platforms are asked for it."""
        if not isinstance(self.asking, Ask):
            self.asking = self.asking()
        return self.asking

    @property
    def bill(self) -> Bill:
        """What it cost upstream so far, for reading alone."""
        return self.asking.bill if isinstance(self.asking, Ask) else _NOTHING

    @property
    def loaders(self) -> Loaders:
        """Made when something is loaded first, which most operations and events never do."""
        if self._loaders is None:
            self._loaders = Loaders(self.shelf, self.ask)
        return self._loaders

    def renew(self) -> None:
        """Forget what the loaders have loaded."""
        self._loaders = None
        self.personal = False
