"""Waiting for what Amazon makes in its own time, and looking for what may have been made although its answer was lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from typing import TypeVar

from adapters.wire import Unclear
from domain.errors import HouseError, Throttled, Transient

T = TypeVar("T")

PAUSES_S = (15.0, 15.0, 30.0, 30.0, 45.0, 60.0, 90.0, 120.0)
"""Between two looks at a thing; the last one again and again."""
PATIENCE_S = 2 * 3600.0
"""Things wait in Amazon's queue for hours at times; longer than this wants a person."""
LOOKS_S = (2.0, 10.0)
"""After a lost answer: when to look whether the thing is being made after all."""


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


async def reason(lines: AsyncIterable[str]) -> str:
    """The words of a document that says why a thing failed. They are no more than a hint: where they cannot be read, that is said
    instead."""
    try:
        said = [line.strip() async for line in lines]
    except (Unclear, HouseError) as problem:
        return f"its reason cannot be read ({problem})."
    return " ".join(said)[:500].strip() or "no reason given."


async def sought(look: Callable[[], Awaitable[str | None]], looks_s: Sequence[float]) -> tuple[str | None, bool]:
    """(the id of what is being made after all, whether the last look could tell). A look that fails, for whatever reason, tells
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
