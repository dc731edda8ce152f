"""Sellers v1: getMarketplaceParticipations."""

from typing import Any

from sandbox.amazon.auth import Account
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.operation import Operation


def participations(account: Account) -> dict[str, Any]:
    """{"payload": [...]}: the account's marketplaces with their currency and language."""
    places = [MARKETPLACES[code] for code in account.marketplaces]
    return {
        "payload": [
            {
                "marketplace": {
                    "id": place.id,
                    "name": place.name,
                    "countryCode": place.code,
                    "defaultCurrencyCode": place.currency,
                    "defaultLanguageCode": place.language,
                    "domainName": place.domain,
                },
                "participation": {"isParticipating": True, "hasSuspendedListings": False},
                "storeName": "Acorn Store",
            }
            for place in places
        ]
    }


def operations(_: object) -> list[Operation]:
    """What of this API is served."""
    path = "/sellers/v1/marketplaceParticipations"
    return [Operation("getMarketplaceParticipations", "GET", path, lambda asked: participations(asked.account))]
