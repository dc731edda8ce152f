"""What changed when: the order in which lists are told, and where in it a page begins."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Generic, TypeVar

K = TypeVar("K")
_STEP = timedelta(milliseconds=1)


class Feed(Generic[K]):
    """Keys by the instant of their last change, ascending. No two changes share an instant.

    The first `size` keys are there from the start without costing anything: the one of index i changed i ms after `origin`, which
    lies before any other change.
    """

    def __init__(
        self,
        origin: datetime,
        size: int = 0,
        key: Callable[[int], K] | None = None,
        index: Callable[[K], int | None] | None = None,
    ) -> None:
        self._origin = origin
        self._size = size
        self._key = key
        self._index = index or (lambda _: None)
        self._at: dict[K, datetime | None] = {}
        self._log: list[tuple[datetime, K]] = []

    def touch(self, key: K, at: datetime) -> None:
        """`key` is new or has changed, at an instant after all others."""
        if self._log and at <= self._log[-1][0]:
            raise ValueError("changes come in their order")
        self._at[key] = at
        self._log.append((at, key))
        if len(self._log) > 1000 and len(self._log) > 2 * len(self._at):
            self._log = [(at, key) for at, key in self._log if self._at[key] == at]

    def remove(self, key: K) -> None:
        self._at[key] = None

    def at(self, key: K) -> datetime:
        """When `key` changed last. KeyError for one that was never there."""
        found = self._at.get(key)
        if found is None:
            index = self._index(key)
            if index is None or key in self._at:
                raise KeyError(key)
            found = self._origin + index * _STEP
        return found

    def walk(self, since: datetime) -> Iterator[tuple[datetime, K]]:
        """What changed at `since` or later."""
        first = max(0, -((self._origin - since) // _STEP))
        if self._key is not None:
            for index in range(first, self._size):
                key = self._key(index)
                if key not in self._at:
                    yield self._origin + index * _STEP, key
        start = bisect_left(self._log, since, key=lambda entry: entry[0])
        yield from [(at, key) for at, key in self._log[start:] if self._at[key] == at]
