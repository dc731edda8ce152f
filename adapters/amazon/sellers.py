"""Where the account sells. Source: Sellers v1, getMarketplaceParticipations."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.amazon.client import Client
from adapters.amazon.marketplaces import marketplace
from adapters.wire import Wire
from domain.budget import Ask


class Place(Wire):
    """A store."""

    id: str


class Participation(Wire):
    """Whether the account sells there."""

    is_participating: bool
    has_suspended_listings: bool = False


class Entry(Wire):
    """One store and the account's part in it."""

    marketplace: Place
    participation: Participation


class Answer(Wire):
    """All stores of the account."""

    payload: list[Entry]


async def check(client: Client, seller_id: str, marketplaces: Sequence[str], ask: Ask) -> str:
    """A sentence about the configured marketplaces; it names those that the account does not sell in."""
    answer = await client.get("getMarketplaceParticipations", "/sellers/v1/marketplaceParticipations", {}, ask, Answer)
    parts = {entry.marketplace.id: entry.participation for entry in answer.payload}
    ids = {code: marketplace(code).id for code in marketplaces}
    there = [code for code, id in ids.items() if id in parts and parts[id].is_participating]
    missing = [code for code in ids if code not in there]
    suspended = [code for code in there if parts[ids[code]].has_suspended_listings]
    told = f"Amazon account {seller_id} sells in {', '.join(there) or 'none of its configured marketplaces'}."
    if missing:
        told += f" It does not take part in {', '.join(missing)}: take {_them(missing)} out of its marketplaces."
    if suspended:
        told += f" Its listings in {', '.join(suspended)} are suspended."
    return told


def _them(codes: Sequence[str]) -> str:
    return "it" if len(codes) == 1 else "them"
