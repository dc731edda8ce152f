"""The seller's consent: where it is asked for, and what comes back.

Source: SP-API documentation, "Website authorization workflow". A seller who comes from Amazon's appstore brings no state of
ours, and Amazon's callback names its account in a query that anybody can write; so consents are only ever started here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlencode

from adapters.amazon.config import AmazonConfig
from adapters.amazon.login import Login
from adapters.amazon.marketplaces import marketplace
from adapters.consent import Consented, Query
from adapters.transport import Transport
from adapters.vault import Vault
from domain.errors import Conflict, Invalid

# The authorization of a public application ends after a year.
LIFE = timedelta(days=365)
WARN = timedelta(days=90)
PATH = "/apps/authorize/consent"
# Where sellers consent, by country; of the others (IE, ZA) no host is published.
CENTRAL = {
    "US": "sellercentral.amazon.com",
    "CA": "sellercentral.amazon.ca",
    "MX": "sellercentral.amazon.com.mx",
    "BR": "sellercentral.amazon.com.br",
    **dict.fromkeys(("UK", "DE", "FR", "IT", "ES"), "sellercentral-europe.amazon.com"),
    "NL": "sellercentral.amazon.nl",
    "BE": "sellercentral.amazon.com.be",
    "SE": "sellercentral.amazon.se",
    "PL": "sellercentral.amazon.pl",
    "TR": "sellercentral.amazon.com.tr",
    "AE": "sellercentral.amazon.ae",
    "SA": "sellercentral.amazon.sa",
    "EG": "sellercentral.amazon.eg",
    "IN": "sellercentral.amazon.in",
    "JP": "sellercentral.amazon.co.jp",
    "AU": "sellercentral.amazon.com.au",
    "SG": "sellercentral.amazon.sg",
}


class AmazonConsent:
    """One selling account. See `adapters.consent.Consent` for what each method promises."""

    service = "Amazon"
    warn = WARN

    def __init__(self, config: AmazonConfig, transport: Transport, vault: Vault) -> None:
        self.channel = config.channel
        self.account = config.seller_id
        self.again = f"acorn channels authorize amazon {config.channel.id}"
        self.redirect_uri = config.redirect_uri
        self.client_id = config.client_id
        self.configured = config.refresh_token is not None
        self._config = config
        self._login = Login(config, transport, vault)

    def url(self, state: str) -> str:
        """A page of Seller Central."""
        config = self._config
        if config.application_id is None:
            raise Invalid(
                f"{config.channel.id} names no application_id. Add the one that Amazon's developer console shows, such as "
                'application_id = "amzn1.sellerapps.app.…".'
            )
        query = {"application_id": config.application_id, "state": state}
        if config.redirect_uri is not None:
            query["redirect_uri"] = config.redirect_uri
        if config.draft:
            query["version"] = "beta"
        return f"{self._central()}{PATH}?{urlencode(query)}"

    def code(self, query: Query, at: datetime) -> str:
        """Amazon signs nothing: it is our state alone that proves it."""
        told = dict(query)
        code, seller = told.get("spapi_oauth_code"), told.get("selling_partner_id")
        if not code or not seller:
            raise Invalid("Amazon has sent no consent along. Start again from the beginning.")
        if seller != self.account:
            raise Conflict(
                f"The account that consented is {seller}; {self.channel.id} is set up for {self.account}. Sign in to Seller "
                "Central with that one, or mend `seller_id` in acorn.toml. Nothing was kept."
            )
        return code

    async def exchange(self, code: str) -> Consented:
        """A refresh token; a public application's ends after a year."""
        return Consented(await self._login.exchange(code), LIFE)

    async def prove(self, token: str) -> Consented:
        """A refresh token of the application."""
        return Consented(await self._login.prove(token))

    def _central(self) -> str:
        config = self._config
        if config.endpoint is not None:
            return config.api
        hosts = [CENTRAL[one] for code in config.channel.marketplaces if (one := marketplace(code).code) in CENTRAL]
        if not hosts:
            raise Invalid(
                f"No address of a consent page is known for {', '.join(config.channel.marketplaces)}. Name another "
                "marketplace of the account beside it; one consent holds for all of a region."
            )
        return f"https://{hosts[0]}"
