"""The owner's consent: the page at which the app is let into the shop, and the proof of what comes back.

Source: Shopify's documentation, "Authorization code grant"; the checks of the callback are those of its own library.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from adapters.consent import Consented, Query
from adapters.shopify import scopes
from adapters.shopify.config import Kind, ShopifyConfig
from adapters.shopify.login import Granted, Login
from adapters.transport import Transport
from adapters.vault import Vault
from domain.errors import Conflict, Forbidden, Invalid

# A refresh token lives for 90 days from its last use.
WARN = timedelta(days=14)
RECENT = timedelta(seconds=90)
_SHOP = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_]*\.(myshopify\.com|shopify\.com|myshopify\.io|shop\.dev)/*")
_UNSIGNED = ("hmac", "signature")


class ShopifyConsent:
    """One shop. See `adapters.consent.Consent` for what each method promises."""

    service = "Shopify"
    warn = WARN

    def __init__(self, config: ShopifyConfig, transport: Transport, vault: Vault) -> None:
        self.channel = config.channel
        self.account = config.shop
        self.redirect_uri = config.redirect_uri
        self.client_id = config.client_id or ""
        self.configured = config.access_token is not None
        self.again = config.again
        self._config = config
        self._login = Login(config, transport, None, vault)

    def url(self, state: str) -> str:
        """The page in the shop's admin."""
        config = self._config
        if not config.kind.consents:
            raise Invalid(
                f'{config.channel.id} has grant = "{config.kind.value}", for which nobody consents. Run `{config.again}` to keep '
                'its token; or set grant = "expiring", client_id and client_secret.'
            )
        if config.redirect_uri is None:
            raise Invalid(
                f"{config.channel.id} names no redirect_uri. Add the gateway's own address with /channels/authorized behind it, "
                "as it stands among the app's allowed redirection URLs."
            )
        query = {
            "client_id": config.client_id,
            "scope": ",".join(config.scopes),
            "redirect_uri": config.redirect_uri,
            "state": state,
            "grant_options[]": "",  # the shop's token and not that of whoever consents
        }
        return f"{config.authorize}?{urlencode(query)}"

    def code(self, query: Query, at: datetime) -> str:
        """Signed with the app's secret, of the last 90 s, and of this shop."""
        told = dict(query)
        code, shop, stamp = (told.get(name) for name in ("code", "shop", "timestamp"))
        if not code or not shop or not stamp or len(told) != len(query):
            raise Invalid("Shopify has sent no consent along. Start again from the beginning.")
        wanted = signed(query, self._config.client_secret or "")
        if not hmac.compare_digest(wanted.encode(), told.get("hmac", "").lower().encode()):
            raise Forbidden("This does not come from Shopify, or the client_secret in acorn.toml is another app's.")
        if not stamp.isdecimal() or len(stamp) > 11 or abs(at - datetime.fromtimestamp(int(stamp), UTC)) > RECENT:
            raise Forbidden("This consent is older than 90 seconds, or the clock here is wrong. Start again.")
        if not _SHOP.fullmatch(shop):
            raise Forbidden("This consent names no shop of Shopify's.")
        if shop.rstrip("/").lower() != self.account.lower():
            raise Conflict(
                f"The shop that consented is {shop}; {self.channel.id} is set up for {self.account}. Sign in to that one, or "
                "mend `shop` in acorn.toml. Nothing was kept."
            )
        return code

    async def exchange(self, code: str) -> Consented:
        """A refresh token, or an access token that lasts; and the scopes that were not granted."""
        return self._consented(await self._login.exchange(code))

    async def prove(self, token: str) -> Consented:
        """A refresh token where tokens expire, else an access token."""
        if self._config.kind is Kind.EXPIRING:
            return self._consented(await self._login.prove(token))
        await self._login.tried(token)
        return Consented(token)

    def _consented(self, granted: Granted) -> Consented:
        given = scopes.listed(granted.scope)
        but = scopes.without(scopes.missing(given, self._config.scopes)) if granted.scope is not None else ""
        if self._config.kind is Kind.LASTING:
            return Consented(granted.access_token, but=but)
        token, life = self._login.refresh_token(granted)
        return Consented(token, life, but)


def signed(query: Query, secret: str) -> str:
    """The `hmac` of a callback: hex, over the rest of its query with its names in order and blanks as %20."""
    rest = sorted((name, value) for name, value in query if name not in _UNSIGNED)
    text = urlencode(rest, quote_via=quote, safe="")
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
