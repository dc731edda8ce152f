"""The stores of a channel that an account sells in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Participation:
    """One store, by our code where we know it, else by the channel's id. `suspended`: its listings there are."""

    marketplace: str
    name: str
    country: str
    currency: str
    language: str
    domain: str
    participating: bool
    suspended: bool
    store_name: str | None = None
