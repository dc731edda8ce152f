"""How long channels take: from a sale on one side to the lower number being seen on the other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lag:
    """Half, 95 and 99 of 100 samples took no longer; in seconds."""

    samples: int
    p50_s: float
    p95_s: float
    p99_s: float
