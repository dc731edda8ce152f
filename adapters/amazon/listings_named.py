"""Single listings, by SKU or ASIN. Source: Listings Items 2021-08-01, searchListingsItems."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from adapters.amazon.client import Client
from adapters.amazon.listings import INCLUDED, OPERATION, Answer, Item, listing_of, path
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.paging import Tokens
from adapters.amazon.wire import rejected
from adapters.port import Page
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.product import Listing

BATCH = 20
IDENTIFIERS = {"SKU": "SKU", "ITEM": "ASIN"}


async def listings(
    client: Client, seller_id: str, marketplaces: Sequence[str], by: str, names: Sequence[str], ask: Ask
) -> Page[Listing]:
    """The account's listings of at most 20 SKUs ("SKU") or ASINs ("ITEM"), in each marketplace. What it does not list is missing;
    several SKUs may offer one item."""
    page: Page[Listing] = Page([])
    for code in marketplaces:
        query: dict[str, str | Sequence[str]] = {
            "marketplaceIds": [marketplace(code).id],
            "identifiersType": IDENTIFIERS[by],
            "identifiers": list(names),
            "includedData": INCLUDED,
            "pageSize": str(BATCH),
        }
        tokens = Tokens(OPERATION)
        while True:
            as_of = datetime.now(UTC)
            answer = await client.get(OPERATION, path(seller_id), query, ask, Answer)
            for raw in answer.items:
                try:
                    page.items.append(listing_of(client.channel, code, read(Item, raw), as_of))
                except Unclear as problem:
                    page.rejected.append(rejected(client.channel, "listing", "sku", raw, problem))
            if (token := tokens.next(answer.pagination.next_token)) is None:
                break
            query["pageToken"] = token
    return page
