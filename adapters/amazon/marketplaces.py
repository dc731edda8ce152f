"""Amazon's stores: their ids, regions and hosts. Source: SP-API documentation, "Marketplace IDs" and "SP-API Endpoints"."""

from __future__ import annotations

from dataclasses import dataclass

from domain.errors import Invalid

TOKEN_ENDPOINT = "https://api.amazon.com/auth/o2/token"  # noqa: S105  an address

REGIONS = ("na", "eu", "fe")


@dataclass(frozen=True, slots=True)
class Marketplace:
    """One store. `code` is Amazon's own country code (UK, where ISO says GB); `domain` is where buyers find it."""

    code: str
    id: str
    region: str
    domain: str


_ALL = (
    Marketplace("US", "ATVPDKIKX0DER", "na", "amazon.com"),
    Marketplace("CA", "A2EUQ1WTGCTBG2", "na", "amazon.ca"),
    Marketplace("MX", "A1AM78C64UM0Y8", "na", "amazon.com.mx"),
    Marketplace("BR", "A2Q3Y263D00KWC", "na", "amazon.com.br"),
    Marketplace("UK", "A1F83G8C2ARO7P", "eu", "amazon.co.uk"),
    Marketplace("DE", "A1PA6795UKMFR9", "eu", "amazon.de"),
    Marketplace("FR", "A13V1IB3VIYZZH", "eu", "amazon.fr"),
    Marketplace("IT", "APJ6JRA9NG5V4", "eu", "amazon.it"),
    Marketplace("ES", "A1RKKUPIHCS9HS", "eu", "amazon.es"),
    Marketplace("NL", "A1805IZSGTT6HS", "eu", "amazon.nl"),
    Marketplace("BE", "AMEN7PMS3EDWL", "eu", "amazon.com.be"),
    Marketplace("IE", "A28R8C7NBKEWEA", "eu", "amazon.ie"),
    Marketplace("SE", "A2NODRKZP88ZB9", "eu", "amazon.se"),
    Marketplace("PL", "A1C3SOZRARQ6R3", "eu", "amazon.pl"),
    Marketplace("TR", "A33AVAJ2PDY3EV", "eu", "amazon.com.tr"),
    Marketplace("AE", "A2VIGQ35RCS4UG", "eu", "amazon.ae"),
    Marketplace("SA", "A17E79C6D8DWNP", "eu", "amazon.sa"),
    Marketplace("EG", "ARBP9OOSHTCHU", "eu", "amazon.eg"),
    Marketplace("ZA", "AE08WJ6YKNBMC", "eu", "amazon.co.za"),
    Marketplace("IN", "A21TJRUUN4KGV", "eu", "amazon.in"),
    Marketplace("JP", "A1VC38T7YXB528", "fe", "amazon.co.jp"),
    Marketplace("AU", "A39IBJ37TRP1C6", "fe", "amazon.com.au"),
    Marketplace("SG", "A19VAU5U5O7RUS", "fe", "amazon.sg"),
)
_BY_CODE = {marketplace.code: marketplace for marketplace in _ALL}


def marketplace(code: str) -> Marketplace:
    """The store of a country code; GB is understood as UK. Raises Invalid for a country without one."""
    found = _BY_CODE.get("UK" if code == "GB" else code)
    if found is None:
        raise Invalid(f"{code!r} is not an Amazon marketplace; there are {', '.join(_BY_CODE)}.")
    return found


def host(region: str, sandbox: bool) -> str:
    """Amazon's address for a selling region, or that of Amazon's own sandbox there."""
    return f"https://{'sandbox.' if sandbox else ''}sellingpartnerapi-{region}.amazon.com"
