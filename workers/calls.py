"""What all that ask platforms have in common: batches, pauses after failures, and failures that no adapter has understood."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from domain.errors import HouseError, OutcomeUnknown, Transient
from workers.backoff import jittered

T = TypeVar("T")

# A slot may be far away, but what is new, smaller or taken by then wants to be looked at.
LONGEST_HOLD_S = 1.0
# What lacks a role is tried again after so long; all else of its channel goes on.
ROLE_WAIT_S = 60.0


@dataclass(slots=True)
class Hold:
    """How long this process leaves one kind of work with one channel alone."""

    until: float = 0.0
    failures: int = 0

    @property
    def over(self) -> bool:
        """Whether the work may go on."""
        return time.monotonic() >= self.until

    def at_least(self, seconds: float) -> None:
        """Leave it alone for so long from now."""
        self.until = max(self.until, time.monotonic() + seconds)

    def mind(self, *, failing: bool, hold_s: float, done: bool) -> None:
        """Take in what a piece of work met: a channel that could not be reached, longer each time in a row; a budget without a
        slot for `hold_s`; or nothing of the kind, when something was `done`."""
        if failing:
            self.failures += 1
            self.at_least(jittered(self.failures, first_s=0.5, most_s=30.0))
        elif hold_s:
            self.at_least(min(hold_s, LONGEST_HOLD_S))
        elif done:
            self.failures = 0


def as_house_error(problem: Exception, sent: bool) -> HouseError:
    """A failure that no adapter has understood: unknown once something was sent, else nothing has changed."""
    words = f"An unexpected {type(problem).__name__} came up."
    return OutcomeUnknown(words) if sent else Transient(words)


def batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """The items in order, `size` at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]
