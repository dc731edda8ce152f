"""Where the account sells. Source: Sellers v1, getMarketplaceParticipations."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.amazon.client import Client
from adapters.amazon.marketplaces import BY_ID, marketplace
from adapters.port import Checked, Warned
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


async def check(client: Client, seller_id: str, marketplaces: Sequence[str], ask: Ask) -> Checked:
    """What Amazon says of the configured marketplaces. It warns of those that the account does not sell in, of suspended
    listings, and of a currency that is not the one that we write prices in."""
    parts = {part.marketplace: part for part in await participations(client, ask)}
    codes = {code: marketplace(code).code for code in marketplaces}
    there = [code for code, known in codes.items() if known in parts and parts[known].participating]
    warnings = []
    if missing := [code for code in codes if code not in there]:
        found = f"Amazon account {seller_id} does not take part in {', '.join(missing)}."
        them = "it" if len(missing) == 1 else "them"
        warnings.append(
            Warned(found, f"Take {them} out of this channel's marketplaces, or open {them} in Seller Central.")
        )
    if suspended := [code for code in there if parts[codes[code]].suspended]:
        found = f"The listings of Amazon account {seller_id} in {', '.join(suspended)} are suspended: nothing is sold there."
        warnings.append(Warned(found, "Look at the listing status (vacation) and at Account Health in Seller Central."))
    for code in there:
        ours, theirs = marketplace(code).currency, parts[codes[code]].currency
        if ours != theirs:
            found = f"Amazon's prices in {code} are in {theirs}, not in {ours}."
            warnings.append(
                Warned(found, f"Write no prices there; an Acorn that knows {code} to sell in {theirs} is needed.")
            )
    told = f"Amazon account {seller_id} sells in {', '.join(there) or 'none of its configured marketplaces'}."
    return Checked(told, tuple(warnings))
