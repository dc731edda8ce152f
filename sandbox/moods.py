"""How what a shop says of its stock may mislead."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

Level = TypeVar("Level")


@dataclass(slots=True)
class Moods:
    """Reads of levels trail by `lag_s` sandbox seconds; the next `ignore` items of stock writes (of `skus`, or of any where it
    is None) are taken without effect."""

    lag_s: float = 0.0
    ignore: int = 0
    skus: frozenset[str] | None = None

    def swallows(self, sku: str) -> bool:
        """Whether a write that was taken for this SKU comes to nothing; counts it."""
        if self.ignore <= 0 or (self.skus is not None and sku not in self.skus):
            return False
        self.ignore -= 1
        return True


@dataclass(slots=True)
class Past(Generic[Level]):
    """What levels were, for readers that trail by `lag_s`."""

    _until: dict[Hashable, list[tuple[datetime, Level]]] = field(default_factory=dict)

    def keep(self, key: Hashable, level: Level, now: datetime, lag_s: float) -> None:
        """Keep what the level is until now (a copy), and forget what nobody sees any more."""
        kept = self._until.setdefault(key, [])
        kept[:] = [one for one in kept if (now - one[0]).total_seconds() < lag_s]
        kept.append((now, level))

    def shown(self, key: Hashable, level: Level, now: datetime, lag_s: float) -> Level:
        """The level as readers see it: as it was `lag_s` ago."""
        seen = now - timedelta(seconds=lag_s)
        return next((old for until, old in self._until.get(key, ()) if seen < until), level)
