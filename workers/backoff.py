"""How long to wait before trying again."""

from __future__ import annotations

import random


def jittered(failures: int, *, first_s: float, most_s: float, growth: float = 2.0) -> float:
    """Seconds to wait after so many failures in a row (1 after the first): anything up to a ceiling that grows.

    The whole range is drawn from ("full jitter"), so that what failed together does not come back together.
    """
    ceiling = min(most_s, first_s * growth ** min(max(0, failures - 1), 64))
    return random.uniform(0, ceiling)  # noqa: S311 - spreads load, hides nothing
