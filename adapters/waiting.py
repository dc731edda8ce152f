"""Waiting for what a platform makes in its own time, and looking for what may have been made although its answer was lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from domain.errors import HouseError, Throttled, Transient

T = TypeVar("T")


async def at_last(
    look: Callable[[], Awaitable[T]],
    ended: Callable[[T], bool],
    *,
    pauses_s: Sequence[float],
    patience_s: float,
    deadline: float | None,
) -> T:
    """Look, less and less often, until it has ended; what was seen last when patience ends, or when the next look would come
    after `deadline` (a reading of `time.monotonic()`). A look that fails for the moment is one pause lost, no more: the thing is
    being made all the same. Raises what such a look did when none before it has seen anything."""
    until = min(time.monotonic() + patience_s, deadline or float("inf"))
    seen: T | None = None
    count = 0
    while True:
        pause_s = pauses_s[min(count, len(pauses_s) - 1)]
        try:
            seen = await look()
        except (Transient, Throttled):
            if seen is None and time.monotonic() + pause_s > until:
                raise
        if seen is not None and (ended(seen) or time.monotonic() + pause_s > until):
            return seen
        await asyncio.sleep(pause_s)
        count += 1


async def sought(look: Callable[[], Awaitable[T | None]], looks_s: Sequence[float]) -> tuple[T | None, bool]:
    """(what is being made after all, whether the last look could tell). A look that fails, for whatever reason, tells
    nothing."""
    told = False
    for pause_s in looks_s:
        await asyncio.sleep(pause_s)
        try:
            found = await look()
        except HouseError:
            told = False
            continue
        told = True
        if found is not None:
            return found, True
    return None, told
