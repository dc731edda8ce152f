"""Units of a SKU in a warehouse, and how what is shown of them may mislead."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from sandbox import moods
from sandbox.shop.feed import Feed
from sandbox.world import WAREHOUSES, Warehouse, World

Key = tuple[str, int]
"""SKU and the warehouse's number."""


def location_id(house: Warehouse) -> str:
    return f"loc_{house.number}"


def house_of(given: object) -> Warehouse | None:
    """A warehouse by its name or its id."""
    return next((house for house in WAREHOUSES if given in (house.name, location_id(house))), None)


@dataclass(slots=True)
class Level:
    """`reserved` is promised to orders and still lies there; so do damaged units, which nobody can buy."""

    sku: str
    house: Warehouse
    updated_at: datetime
    available: int = 0
    reserved: int = 0
    damaged: int = 0
    incoming: int = 0
    rev: int = 1

    @property
    def on_hand(self) -> int:
        return self.available + self.reserved + self.damaged


@dataclass(slots=True)
class Moods(moods.Moods):
    """Writes take `slow_s` real seconds, jobs `job_s` sandbox seconds."""

    slow_s: float = 0.0
    job_s: float = 0.0


class Stock:
    """All levels. Those that nobody has changed are the seeded world's, less what the first orders have reserved."""

    def __init__(
        self, world: World, origin: datetime, now: Callable[[], datetime], stamp: Callable[[], datetime]
    ) -> None:
        self._world = world
        self._now = now
        self._stamp = stamp
        count = len(WAREHOUSES)
        self.feed: Feed[Key] = Feed(
            origin,
            world.size * count,
            lambda i: (world.product(i // count).sku, WAREHOUSES[i % count].number),
            self._index,
        )
        self._levels: dict[Key, Level] = {}
        self._past: moods.Past[Level] = moods.Past()
        self._houses = {house.number: house for house in WAREHOUSES}
        self.unstocked: set[Key] = set()
        self.seeded_reserved: dict[Key, int] = {}
        self.moods = Moods()

    def level(self, sku: str, house: Warehouse) -> Level:
        """The level as it is. KeyError for a SKU that was never there."""
        key = (sku, house.number)
        found = self._levels.get(key)
        if found is not None:
            return found
        index = self._world.index(sku)
        if index is None:
            raise KeyError(key)
        own = self._world.own_stock(index, house.name)
        reserved = self.seeded_reserved.get(key, 0)
        return Level(
            sku=sku,
            house=house,
            updated_at=self.feed.at(key),
            available=max(0, own.on_hand - own.damaged - reserved),
            reserved=reserved,
            damaged=own.damaged,
            incoming=own.incoming,
        )

    def change(self, sku: str, house: Warehouse, *, available: int = 0, reserved: int = 0) -> Level:
        """Add to a level; one of a new SKU begins with nothing."""
        key = (sku, house.number)
        try:
            level = self.level(sku, house)
        except KeyError:
            level = Level(sku, house, self._now(), rev=0)
        if self.moods.lag_s:
            self._past.keep(key, replace(level), self._now(), self.moods.lag_s)
        level.available += available
        level.reserved += reserved
        level.rev += 1
        level.updated_at = self._stamp()
        self._levels[key] = level
        self.feed.touch(key, level.updated_at)
        return level

    def forget(self, sku: str) -> None:
        """The SKU is sold no more."""
        for house in WAREHOUSES:
            self._levels.pop((sku, house.number), None)
            self.feed.remove((sku, house.number))

    def shown(self, level: Level) -> Level:
        """The level as readers see it."""
        return self._past.shown((level.sku, level.house.number), level, self._now(), self.moods.lag_s)

    def stocks(self, sku: str, house: Warehouse) -> bool:
        """Whether the SKU has a level there."""
        return (sku, house.number) not in self.unstocked

    def walk(self, since: datetime) -> Iterator[tuple[datetime, Level]]:
        for at, (sku, number) in self.feed.walk(since):
            if (sku, number) not in self.unstocked:
                yield at, self.shown(self.level(sku, self._houses[number]))

    def _index(self, key: Key) -> int | None:
        index = self._world.index(key[0])
        place = next((place for place, house in enumerate(WAREHOUSES) if house.number == key[1]), None)
        return None if index is None or place is None else index * len(WAREHOUSES) + place
