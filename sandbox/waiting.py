"""What is on its way out of a sandbox, and due at an hour of its clock."""

import heapq
import random
from typing import Generic, TypeVar

from sandbox.clock import Clock

T = TypeVar("T")


class Waiting(Generic[T]):
    """In the order of their hours, and of their coming where those are the same."""

    def __init__(self, clock: Clock, dice: random.Random) -> None:
        self._clock = clock
        self._dice = dice
        self._number = 0
        self._entries: list[tuple[float, int, T]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, what: T, *, after_s: float = 0.0, up_to_s: float = 0.0) -> None:
        """Due in `after_s` sandbox seconds, and up to `up_to_s` later still."""
        late = self._dice.uniform(0, up_to_s) if up_to_s else 0.0
        self._number += 1
        heapq.heappush(self._entries, (self._clock.seconds() + after_s + late, self._number, what))

    def due(self, *, shuffle: bool) -> list[T]:
        """Takes out what is due; `shuffle` mixes it."""
        found: list[T] = []
        while self._entries and self._entries[0][0] <= self._clock.seconds():
            found.append(heapq.heappop(self._entries)[2])
        if shuffle:
            self._dice.shuffle(found)
        return found
