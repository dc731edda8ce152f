"""Amazon's stores: their ids, regions and hosts. Source: SP-API documentation, "Marketplace IDs" and "SP-API Endpoints"."""

from __future__ import annotations

from dataclasses import dataclass

from domain.channel import Channel
from domain.errors import Invalid

TOKEN_ENDPOINT = "https://api.amazon.com/auth/o2/token"  # noqa: S105  an address

REGIONS = ("na", "eu", "fe")


@dataclass(frozen=True, slots=True)
class Marketplace:
    """One store. `code` is Amazon's own country code (UK, where ISO says GB); `domain` is where buyers find it.

    Its days begin in the time zone `zone`, and its prices are in `currency`.
    """

    code: str
    id: str
    region: str
    domain: str
    currency: str
    zone: str

    @property
    def places(self) -> int:
        """Decimals of its currency."""
        return 0 if self.currency == "JPY" else 2

    @property
    def prices_with_tax(self) -> bool:
        """Whether buyers are shown prices with the tax in them, as all stores do but those of the United States and Canada."""
        return self.code not in ("US", "CA")


_ALL = (
    Marketplace("US", "ATVPDKIKX0DER", "na", "amazon.com", "USD", "America/Los_Angeles"),
    Marketplace("CA", "A2EUQ1WTGCTBG2", "na", "amazon.ca", "CAD", "America/Los_Angeles"),
    Marketplace("MX", "A1AM78C64UM0Y8", "na", "amazon.com.mx", "MXN", "America/Los_Angeles"),
    Marketplace("BR", "A2Q3Y263D00KWC", "na", "amazon.com.br", "BRL", "America/Sao_Paulo"),
    Marketplace("UK", "A1F83G8C2ARO7P", "eu", "amazon.co.uk", "GBP", "Europe/London"),
    Marketplace("DE", "A1PA6795UKMFR9", "eu", "amazon.de", "EUR", "Europe/Berlin"),
    Marketplace("FR", "A13V1IB3VIYZZH", "eu", "amazon.fr", "EUR", "Europe/Paris"),
    Marketplace("IT", "APJ6JRA9NG5V4", "eu", "amazon.it", "EUR", "Europe/Rome"),
    Marketplace("ES", "A1RKKUPIHCS9HS", "eu", "amazon.es", "EUR", "Europe/Madrid"),
    Marketplace("NL", "A1805IZSGTT6HS", "eu", "amazon.nl", "EUR", "Europe/Amsterdam"),
    Marketplace("BE", "AMEN7PMS3EDWL", "eu", "amazon.com.be", "EUR", "Europe/Brussels"),
    Marketplace("IE", "A28R8C7NBKEWEA", "eu", "amazon.ie", "EUR", "Europe/Dublin"),
    Marketplace("SE", "A2NODRKZP88ZB9", "eu", "amazon.se", "SEK", "Europe/Stockholm"),
    Marketplace("PL", "A1C3SOZRARQ6R3", "eu", "amazon.pl", "PLN", "Europe/Warsaw"),
    Marketplace("TR", "A33AVAJ2PDY3EV", "eu", "amazon.com.tr", "TRY", "Europe/Istanbul"),
    Marketplace("AE", "A2VIGQ35RCS4UG", "eu", "amazon.ae", "AED", "Asia/Dubai"),
    Marketplace("SA", "A17E79C6D8DWNP", "eu", "amazon.sa", "SAR", "Asia/Riyadh"),
    Marketplace("EG", "ARBP9OOSHTCHU", "eu", "amazon.eg", "EGP", "Africa/Cairo"),
    Marketplace("ZA", "AE08WJ6YKNBMC", "eu", "amazon.co.za", "ZAR", "Africa/Johannesburg"),
    Marketplace("IN", "A21TJRUUN4KGV", "eu", "amazon.in", "INR", "Asia/Kolkata"),
    Marketplace("JP", "A1VC38T7YXB528", "fe", "amazon.co.jp", "JPY", "Asia/Tokyo"),
    Marketplace("AU", "A39IBJ37TRP1C6", "fe", "amazon.com.au", "AUD", "Australia/Sydney"),
    Marketplace("SG", "A19VAU5U5O7RUS", "fe", "amazon.sg", "SGD", "Asia/Singapore"),
)
_BY_CODE = {marketplace.code: marketplace for marketplace in _ALL}
BY_ID = {marketplace.id: marketplace.code for marketplace in _ALL}
BY_DOMAIN = {marketplace.domain: marketplace.code for marketplace in _ALL}


def marketplace(code: str) -> Marketplace:
    """The store of a country code; GB is understood as UK. Raises Invalid for a country without one."""
    found = _BY_CODE.get("UK" if code == "GB" else code)
    if found is None:
        raise Invalid(f"{code!r} is not an Amazon marketplace; there are {', '.join(_BY_CODE)}.")
    return found


def told_of_stores(channel: Channel) -> Channel:
    """The channel, which knows the zones and currencies of its marketplaces from now on. Raises Invalid."""
    channel.zones = {code: marketplace(code).zone for code in channel.marketplaces}
    channel.currencies = {code: marketplace(code).currency for code in channel.marketplaces}
    return channel


def host(region: str, sandbox: bool) -> str:
    """Amazon's address for a selling region, or that of Amazon's own sandbox there."""
    return f"https://{'sandbox.' if sandbox else ''}sellingpartnerapi-{region}.amazon.com"
