"""Where the account sells. Source: Sellers v1, getMarketplaceParticipations."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.amazon.client import Client
from adapters.amazon.marketplaces import BY_ID, marketplace
from adapters.wire import Wire
from domain.budget import Ask
from domain.participation import Participation


class Place(Wire):
    """A store."""

    id: str
    name: str
    country_code: str
    default_currency_code: str
    default_language_code: str
    domain_name: str


class Part(Wire):
    """Whether the account sells there."""

    is_participating: bool
    has_suspended_listings: bool


class Entry(Wire):
    """One store and the account's part in it."""

    marketplace: Place
    participation: Part
    store_name: str | None = None


class Answer(Wire):
    """All stores of the account."""

    payload: list[Entry]


async def participations(client: Client, ask: Ask) -> list[Participation]:
    """All stores of the account's region. Raises Transient for an answer that cannot be understood."""
    answer = await client.get("getMarketplaceParticipations", "/sellers/v1/marketplaceParticipations", {}, ask, Answer)
    return [
        Participation(
            marketplace=BY_ID.get(entry.marketplace.id, entry.marketplace.id),
            name=entry.marketplace.name,
            country=entry.marketplace.country_code,
            currency=entry.marketplace.default_currency_code,
            language=entry.marketplace.default_language_code,
            domain=entry.marketplace.domain_name,
            participating=entry.participation.is_participating,
            suspended=entry.participation.has_suspended_listings,
            store_name=entry.store_name,
        )
        for entry in answer.payload
    ]


async def check(client: Client, seller_id: str, marketplaces: Sequence[str], ask: Ask) -> str:
    """A sentence about the configured marketplaces. It names those that the account does not sell in, those whose listings are
    suspended, and those whose currency is not the one that we write prices in."""
    parts = {part.marketplace: part for part in await participations(client, ask)}
    codes = {code: marketplace(code).code for code in marketplaces}
    there = [code for code, known in codes.items() if known in parts and parts[known].participating]
    told = f"Amazon account {seller_id} sells in {', '.join(there) or 'none of its configured marketplaces'}."
    if missing := [code for code in codes if code not in there]:
        told += f" It does not take part in {', '.join(missing)}: take {_them(missing)} out of its marketplaces."
    if suspended := [code for code in there if parts[codes[code]].suspended]:
        told += f" Its listings in {', '.join(suspended)} are suspended."
    for code in there:
        ours, theirs = marketplace(code).currency, parts[codes[code]].currency
        if ours != theirs:
            told += f" Amazon's prices in {code} are in {theirs}, not in {ours}: write no prices there."
    return told


def _them(codes: Sequence[str]) -> str:
    return "it" if len(codes) == 1 else "them"
