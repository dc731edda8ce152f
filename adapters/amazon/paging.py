"""The page tokens of one walk."""

from __future__ import annotations

from dataclasses import dataclass, field

from domain.errors import Transient


@dataclass(slots=True)
class Tokens:
    """Those that a walk through `operation` has been given. Each leads to another page, so one that comes again would lead round
    in a circle for ever, at a call a page."""

    operation: str
    _given: set[str] = field(default_factory=set)

    def next(self, token: str | None) -> str | None:
        """`token`; None at the end, which Amazon tells by no token, null or an empty one. Raises Transient for one that came
        before: the walk cannot be finished now, and what it told is not the whole."""
        if not token:
            return None
        if token in self._given:
            raise Transient(f"{self.operation}: Amazon gave the same page token twice.")
        self._given.add(token)
        return token
