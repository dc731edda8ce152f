"""What a sandbox is started with."""

from dataclasses import dataclass
from datetime import datetime

MARKETPLACES = ("US", "DE", "FR", "JP")


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes are counts, `speed` is sandbox seconds per real second, `lag_s` sandbox seconds.

    `start` is the sandbox clock's first instant (aware); None takes the real one.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 7
    products: int = 500
    orders: int = 1500
    speed: float = 1.0
    lag_s: float = 2.0
    marketplaces: tuple[str, ...] = MARKETPLACES
    start: datetime | None = None
