"""The platform's marketplaces: all ids, to tell a foreign one from nonsense, and details of those sold in here."""

from dataclasses import dataclass

ALL_IDS = frozenset(
    [
        "ATVPDKIKX0DER",
        "A2EUQ1WTGCTBG2",
        "A1AM78C64UM0Y8",
        "A2Q3Y263D00KWC",
        "A1F83G8C2ARO7P",
        "A1PA6795UKMFR9",
        "A13V1IB3VIYZZH",
        "APJ6JRA9NG5V4",
        "A1RKKUPIHCS9HS",
        "A1805IZSGTT6HS",
        "AMEN7PMS3EDWL",
        "A28R8C7NBKEWEA",
        "A2NODRKZP88ZB9",
        "A1C3SOZRARQ6R3",
        "A33AVAJ2PDY3EV",
        "A2VIGQ35RCS4UG",
        "A17E79C6D8DWNP",
        "ARBP9OOSHTCHU",
        "AE08WJ6YKNBMC",
        "A21TJRUUN4KGV",
        "A1VC38T7YXB528",
        "A39IBJ37TRP1C6",
        "A19VAU5U5O7RUS",
    ]
)


@dataclass(frozen=True, slots=True)
class Marketplace:
    """`tax_percent` is part of the price where `tax_included`, else comes on top; `places` of the currency."""

    code: str
    id: str
    name: str
    domain: str
    currency: str
    language: str
    places: int
    tax_percent: int
    tax_included: bool


MARKETPLACES = {
    "US": Marketplace("US", "ATVPDKIKX0DER", "Amazon.com", "www.amazon.com", "USD", "en_US", 2, 8, False),
    "DE": Marketplace("DE", "A1PA6795UKMFR9", "Amazon.de", "www.amazon.de", "EUR", "de_DE", 2, 19, True),
    "FR": Marketplace("FR", "A13V1IB3VIYZZH", "Amazon.fr", "www.amazon.fr", "EUR", "fr_FR", 2, 20, True),
    "JP": Marketplace("JP", "A1VC38T7YXB528", "Amazon.co.jp", "www.amazon.co.jp", "JPY", "ja_JP", 0, 10, True),
}
BY_ID = {marketplace.id: marketplace for marketplace in MARKETPLACES.values()}
