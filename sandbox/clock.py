"""The sandbox's own time: token lives, visibility delays, timestamps and usage plans all run on it."""

import time
from datetime import UTC, datetime, timedelta

_TEN_YEARS_S = 10 * 366 * 86_400


class Clock:
    """Starts at `start` (default: the real now) and runs `speed` times as fast as the real clock."""

    def __init__(self, speed: float = 1.0, start: datetime | None = None) -> None:
        self._start = to_ms(start or datetime.now(UTC))
        self._elapsed = 0.0
        self._mark = self._began = time.monotonic()
        self._speed = _checked(speed)

    @property
    def speed(self) -> float:
        """Sandbox seconds per real second."""
        return self._speed

    @property
    def start(self) -> datetime:
        return self._start

    def seconds(self) -> float:
        """Sandbox seconds since the start; never goes back."""
        return self._elapsed + (time.monotonic() - self._mark) * self._speed

    def now(self) -> datetime:
        """The sandbox's instant, aware, in UTC, in whole milliseconds."""
        return to_ms(self._start + timedelta(seconds=self.seconds()))

    @property
    def ahead_s(self) -> float:
        """Seconds this clock has gained on the real one since the start, by advancing or by its speed."""
        return max(0.0, self.seconds() - (time.monotonic() - self._began))

    def advance(self, seconds: float) -> None:
        """Jump forward by sandbox seconds; ValueError for a negative step or one of more than ten years."""
        if not 0 <= seconds <= _TEN_YEARS_S:
            raise ValueError("the clock only goes forward, by ten years at most")
        self._elapsed += seconds

    def run_at(self, speed: float) -> None:
        """Change the speed from now on; the time passed so far stays."""
        elapsed = self.seconds()
        self._speed = _checked(speed)
        self._elapsed, self._mark = elapsed, time.monotonic()


def to_ms(at: datetime) -> datetime:
    """`at` cut to milliseconds: the platforms' precision, so that a time read back is the very time kept."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _checked(speed: float) -> float:
    if not 0 <= speed <= 1_000_000:
        raise ValueError("the speed must lie between 0 and 1000000")
    return speed
