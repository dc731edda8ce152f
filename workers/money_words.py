"""Words for money that nobody knows raise an alert when they are first seen; lines whose words have come to be known are classed.

One worker does it at a time: who finds somebody else at the books leaves it for the next look. The more there is to look at, the
longer the pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from domain.money_class import MoneyClass
from store import money_word
from store.money_word import AT_ONCE
from workers.deps import Deps

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
SHARE = 20
"""A look that took a second is followed by so many seconds without one, unless there is more to class."""


@dataclass(slots=True)
class MoneyWords:
    """Looks for words that nobody knows, and for those that are known since. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        due_at = 0.0
        while True:
            classed = 0
            if (began := monotonic()) >= due_at:
                await alert(self.deps)
                classed = await reclass(self.deps)
                due_at = monotonic() + SHARE * (monotonic() - began)
            self.pulse()
            if classed < AT_ONCE:
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                due_at = 0.0


async def alert(deps: Deps) -> int:
    """Remember words that were never seen before, and warn of them; how many those are."""
    async with deps.store.begin() as tx:
        said = await money_word.dictionary(tx)
        unknown = [
            one.words
            for one in await money_word.unclassified(tx, deps.channels)
            if said.of(one.words.source)(one.words.kind, one.words.amount_kind, one.words.description)[1]
            is MoneyClass.UNCLASSIFIED
        ]
        fresh = await money_word.note(tx, unknown)
    for one in fresh:
        log.warning(
            "money.words_unknown",
            extra={
                "words": one.source,
                "kind": one.kind,
                "amount_kind": one.amount_kind,
                "description": one.description,
            },
        )
    return len(fresh)


async def reclass(deps: Deps) -> int:
    """Class lines whose words are known by now; how many."""
    async with deps.store.begin() as tx:
        classed = await money_word.reclass(tx, deps.channels)
    if classed:
        log.info("money.reclassed", extra={"lines": classed})
    return classed
