"""How long to wait for what Amazon makes in its own time, and what it says where it could not."""

from __future__ import annotations

from collections.abc import AsyncIterable

from adapters.wire import Unclear
from domain.errors import HouseError

PAUSES_S = (15.0, 15.0, 30.0, 30.0, 45.0, 60.0, 90.0, 120.0)
"""Between two looks at a thing; the last one again and again."""
PATIENCE_S = 2 * 3600.0
"""Things wait in Amazon's queue for hours at times; longer than this wants a person."""
LOOKS_S = (2.0, 10.0)
"""After a lost answer: when to look whether the thing is being made after all."""


async def reason(lines: AsyncIterable[str]) -> str:
    """The words of a document that says why a thing failed. They are no more than a hint: where they cannot be read, that is said
    instead."""
    try:
        said = [line.strip() async for line in lines]
    except (Unclear, HouseError) as problem:
        return f"its reason cannot be read ({problem})."
    return " ".join(said)[:500].strip() or "no reason given."
