"""A strict token bucket on the sandbox clock."""

from sandbox.clock import Clock


class Bucket:
    """Full with `burst` tokens at first; gains `rate` tokens per sandbox second and never holds more than `burst`."""

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock.seconds()

    @property
    def remaining(self) -> float:
        """Tokens there are now."""
        now = self._clock.seconds()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return self._tokens

    def take(self, cost: float = 1.0) -> bool:
        """Take `cost` tokens, or nothing at all when there are fewer."""
        # A refill computed in floats may fall short of a whole token by its last bits.
        if self.remaining + 1e-9 < cost:
            return False
        self._tokens = max(0.0, self._tokens - cost)
        return True

    def give(self, cost: float) -> None:
        """Put `cost` tokens back, e.g. what a query was charged beyond its actual cost."""
        self._tokens = min(self.burst, self.remaining + cost)
