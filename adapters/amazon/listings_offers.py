"""Our own offers as they stand at Amazon: what was asked for, and what buyers see.

Sources: Listings Items 2021-08-01, getListingsItem for one and searchListingsItems for up to 20.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.amazon import listings
from adapters.amazon.client import Client
from adapters.amazon.listings import Issue, Stocked, Summary, own_units, path, shown_price
from adapters.amazon.listings_submissions import LOCALE, Finding, findings
from adapters.amazon.marketplaces import Marketplace
from adapters.amazon.paging import Tokens
from adapters.amazon.patches import OFFER, Entry, Prices, prices
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import Invalid, Transient
from domain.ids import ChannelSku
from domain.money import Money

OPERATION = "getListingsItem"
BATCH = listings.PAGE
INCLUDED = ("summaries", "attributes", "offers", "fulfillmentAvailability", "issues")


class Item(Wire):
    """A listing with all that its offer needs. `attributes` come as Amazon keeps them, to be written back as they are."""

    sku: str
    summaries: tuple[Summary, ...] = ()
    attributes: Mapping[str, tuple[Mapping[str, object], ...]] | None = None
    offers: tuple[listings.Offer, ...] = ()
    fulfillment_availability: tuple[Stocked, ...] = ()
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """An offer in one marketplace. `asked` is what we have asked for, `in_force` what buyers are shown now, both for everybody.

    `quantity` is None where Amazon fulfills or no number stands. `entries` is all that purchasable_offer says there; None where
    Amazon has left the attributes out, which says neither what was asked for nor that nothing was.
    """

    sku: ChannelSku
    marketplace: str
    product_type: str
    buyable: bool
    asked: Prices
    in_force: Money | None
    quantity: int | None
    findings: tuple[Finding, ...]
    entries: tuple[Entry, ...] | None
    as_of: datetime
    upstream_request_id: str | None = None

    @property
    def suppressed_by(self) -> tuple[Finding, ...]:
        """The findings for which Amazon takes something down: the listing, an attribute of it, its place in searches."""
        return tuple(one for one in self.findings if one.actions)


async def read_offer(client: Client, seller_id: str, store: Marketplace, sku: ChannelSku, ask: Ask) -> Standing:
    """One offer. Raises NotFound where the SKU is not listed; Transient for what cannot be read."""
    query: dict[str, str | Sequence[str]] = {
        "marketplaceIds": [store.id],
        "includedData": INCLUDED,
        "issueLocale": LOCALE,
    }
    as_of = datetime.now(UTC)
    item, request_id = await client.get_with_id(OPERATION, path(seller_id, sku), query, ask, Item)
    return _standing(item, store, as_of, request_id, OPERATION)


async def read_offers(
    client: Client, seller_id: str, store: Marketplace, skus: Sequence[ChannelSku], ask: Ask
) -> dict[ChannelSku, Standing]:
    """At most 20 offers in one call (more where Amazon pages); those that are not listed are missing.

    Raises Transient when one comes back unreadable: a missing one would pass for an offer that is gone.
    """
    if len(set(skus)) > BATCH:
        raise Invalid(f"{listings.OPERATION} takes {BATCH} SKUs at most; {len(set(skus))} were given.")
    query: dict[str, str | Sequence[str]] = {
        "marketplaceIds": [store.id],
        "identifiers": list(dict.fromkeys(skus)),
        "identifiersType": "SKU",
        "includedData": INCLUDED,
        "issueLocale": LOCALE,
        "pageSize": str(BATCH),
    }
    found: dict[ChannelSku, Standing] = {}
    tokens = Tokens(listings.OPERATION)
    while skus:
        as_of = datetime.now(UTC)
        answer, request_id = await client.get_with_id(listings.OPERATION, path(seller_id), query, ask, listings.Answer)
        for raw in answer.items:
            try:
                item = read(Item, raw)
            except Unclear as problem:
                raise _unreadable(listings.OPERATION, problem, request_id) from problem
            standing = _standing(item, store, as_of, request_id, listings.OPERATION)
            found[standing.sku] = standing
        if (token := tokens.next(answer.pagination.next_token)) is None:
            break
        query["pageToken"] = token
    return found


def _standing(item: Item, store: Marketplace, as_of: datetime, request_id: str | None, operation: str) -> Standing:
    entries = None if item.attributes is None else tuple(item.attributes.get(OFFER, ()))
    try:
        summary = _summary(item, store)
        return Standing(
            sku=ChannelSku(item.sku),
            marketplace=store.code,
            product_type=summary.product_type,
            buyable="BUYABLE" in summary.status,
            asked=prices(store, entries or ()),
            in_force=shown_price(item.offers, store),
            quantity=own_units(item.fulfillment_availability),
            findings=findings(item.issues, store),
            entries=entries,
            as_of=as_of,
            upstream_request_id=request_id,
        )
    except Unclear as problem:
        raise _unreadable(operation, problem, request_id) from problem


def _summary(item: Item, store: Marketplace) -> Summary:
    for one in item.summaries:
        if one.marketplace_id == store.id:
            return one
    raise Unclear(f"{item.sku}: summaries say nothing about {store.code}")


def _unreadable(operation: str, problem: Unclear, request_id: str | None) -> Transient:
    return Transient(f"{operation} told what cannot be read: {problem}.", upstream_request_id=request_id)
