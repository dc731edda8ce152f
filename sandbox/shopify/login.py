"""Who is let into the shop: the page on which its owner consents, the token endpoint, and what ends a token.

The owner consents at once, unless told to refuse. Source: Shopify's documentation, "Authorization code grant", "Client
credentials grant" and "About offline access tokens"; its changelog of 2026-08-28 for the grace of a refresh token.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.control import answer
from sandbox.shopify.state import CLIENT_ID, CLIENT_SECRET, SCOPES, TOKEN_LIFE_S, Grant, Shop
from sandbox.shopify.webhooks import DOMAIN

AUTHORIZE_PATH = "/admin/oauth/authorize"
PAIR_LIFE_S = 3600
REFRESH_LIFE_S = 90 * 86_400


class Refused(Exception):
    """An OAuth error answer of the token endpoint."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


@dataclass(frozen=True, slots=True)
class Pair:
    """An access token that expires, and the refresh token beside it, good until `until`."""

    access: str
    refresh: str
    until: datetime
    scopes: frozenset[str]


@dataclass(slots=True)
class Login:
    """There is one pair of expiring tokens at most. `grace` is the pair before it, whose refresh token stays good until the
    newest pair is used for the first time. `allowed` are the scopes that the owner grants, of those that are asked for."""

    shop: Shop
    domain: str = DOMAIN
    refuse: bool = False
    must_expire: bool = False
    installed: bool = True
    allowed: frozenset[str] = frozenset(SCOPES)
    redirect_uris: tuple[str, ...] = ()
    pair: Pair | None = None
    grace: Pair | None = None
    _codes: dict[str, frozenset[str]] = field(default_factory=dict)
    _issued: set[str] = field(default_factory=set)

    async def page(self, request: Request) -> Response:
        """The answer of GET /admin/oauth/authorize. The timestamp of a callback is real, as whoever checks it counts."""
        query = request.query_params
        back = query.get("redirect_uri", "")
        if query.get("client_id") != CLIENT_ID:
            return _error("Oauth error invalid_request: Could not find Shopify API application with api_key")
        if not back or (self.redirect_uris and back not in self.redirect_uris):
            return _error("Oauth error invalid_request: The redirect_uri is not whitelisted")
        asked = frozenset(one.strip() for one in query.get("scope", "").split(",") if one.strip())
        if unknown := sorted(asked - set(SCOPES)):
            return _error(f"Oauth error invalid_scope: {unknown[0]} is not a valid access scope")
        if self.refuse:
            return HTMLResponse("<h1>Shopify</h1><p>The app was not installed.</p>")
        code = secrets.token_hex(16)
        self._codes[code] = asked & self.allowed
        self.install()
        told = {
            "code": code,
            "host": "YWRtaW4uc2hvcGlmeS5jb20vc3RvcmUvYWNvcm4",
            "shop": self.domain,
            "state": query.get("state", ""),
            "timestamp": str(int(time.time())),
        }
        told["hmac"] = _signed(told)
        joint = "&" if urlsplit(back).query else "?"
        return RedirectResponse(f"{back}{joint}{urlencode(told)}", 302)

    def token(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint; raises Refused."""
        if given.get("client_id") != CLIENT_ID or given.get("client_secret") != CLIENT_SECRET:
            raise Refused("invalid_client", "Client authentication failed", 401)
        if "code" in given:
            return self._for_code(str(given["code"]), expiring=str(given.get("expiring", "0")) == "1")
        grant = given.get("grant_type")
        if grant not in ("client_credentials", "refresh_token"):
            raise Refused("unsupported_grant_type", "Only client_credentials and refresh_token are granted here")
        if not self.installed:
            raise Refused("app_not_installed", "The app is not installed on this shop")
        if grant == "refresh_token":
            return self._refreshed(str(given.get("refresh_token")))
        token = self._issue(self.allowed, TOKEN_LIFE_S)
        return {"access_token": token, "scope": _told(self.allowed), "expires_in": TOKEN_LIFE_S}

    def opened(self, token: str) -> Grant | None:
        """What a token of the Admin API may do. Using the newest pair ends the grace of the one before it."""
        granted = self.shop.granted(token)
        if granted is not None and self.pair is not None and token == self.pair.access:
            self.grace = None
        return granted

    def install(self) -> None:
        """The app is in the shop; its lasting tokens are good again, and no other."""
        if not self.installed:
            self.installed = True
            self.shop.restore_tokens()

    def uninstall(self) -> None:
        """Every token of the app is dead, and so are its subscriptions, once it has been told."""
        if self.installed:
            hooks = self.shop.webhooks
            hooks.tell(self.shop, "APP_UNINSTALLED", {"id": 1, "domain": self.domain, "myshopify_domain": self.domain})
            hooks.subscriptions.clear()
        self.installed, self.pair, self.grace = False, None, None
        self.shop.tokens.clear()
        self._issued.clear()

    def routes(self) -> list[BaseRoute]:
        """POST /_sandbox/app."""
        return [Route("/app", answer(self._change), methods=["POST"])]

    def _for_code(self, code: str, *, expiring: bool) -> dict[str, Any]:
        scopes = self._codes.pop(code, None)
        if scopes is None:
            raise Refused("invalid_request", "The authorization code was not found or was already used")
        if not expiring:
            return {"access_token": self._issue(scopes, None), "scope": _told(scopes)}
        return self._paired(scopes, None)

    def _refreshed(self, refresh_token: str) -> dict[str, Any]:
        known = [one for one in (self.pair, self.grace) if one is not None and one.refresh == refresh_token]
        if not known or known[0].until <= self.shop.now():
            raise Refused("invalid_grant", "The refresh token is invalid, expired or was already used")
        # To use the newest pair's refresh token is to use the pair: what came before it is over.
        return self._paired(known[0].scopes, known[0])

    def _paired(self, scopes: frozenset[str], before: Pair | None) -> dict[str, Any]:
        """A new pair. The one before is revoked, but for the grace of its refresh token."""
        if self.pair is not None:
            self.shop.tokens.pop(self.pair.access, None)
        until = self.shop.now() + timedelta(seconds=REFRESH_LIFE_S)
        self.pair = Pair(self._issue(scopes, PAIR_LIFE_S), f"shprt_{secrets.token_hex(16)}", until, scopes)
        self.grace = before
        return {
            "access_token": self.pair.access,
            "scope": _told(scopes),
            "expires_in": PAIR_LIFE_S,
            "refresh_token": self.pair.refresh,
            "refresh_token_expires_in": REFRESH_LIFE_S,
        }

    def _issue(self, scopes: frozenset[str], life_s: int | None) -> str:
        until = None if life_s is None else self.shop.now() + timedelta(seconds=life_s)
        token = f"shpat_{secrets.token_hex(16)}"
        self.shop.tokens[token] = Grant(_whole(scopes), until)
        self._issued.add(token)
        return token

    def _change(self, body: dict[str, Any]) -> dict[str, Any]:
        """ValueError changes nothing."""
        flags, lists = ("installed", "refuse", "mustExpire"), ("scopes", "redirectUris")
        if not body or set(body) - {*flags, *lists, "shop"}:
            raise ValueError(f"send some of {', '.join((*flags, *lists, 'shop'))}")
        if not all(isinstance(body[name], bool) for name in flags if name in body):
            raise ValueError(f"{', '.join(flags)} are true or false")
        if not all(isinstance(body[name], list) for name in lists if name in body):
            raise ValueError(f"{' and '.join(lists)} are lists")
        scopes = frozenset(map(str, body.get("scopes", self.allowed)))
        if unknown := sorted(scopes - set(SCOPES)):
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(SCOPES)}")
        self.refuse, self.must_expire = body.get("refuse", self.refuse), body.get("mustExpire", self.must_expire)
        self.redirect_uris = tuple(map(str, body.get("redirectUris", self.redirect_uris)))
        self.domain = str(body.get("shop", self.domain))
        if "scopes" in body:
            self._allow(scopes)
        if "installed" in body:
            (self.install if body["installed"] else self.uninstall)()
        return self._shown()

    def _allow(self, scopes: frozenset[str]) -> None:
        """From now on, and for what the app holds already."""
        if self.installed and scopes != self.allowed:
            body = {"id": 1, "previous": sorted(self.allowed), "current": sorted(scopes)}
            self.shop.webhooks.tell(self.shop, "APP_SCOPES_UPDATE", body)
        self.allowed = scopes
        for token in self._issued & set(self.shop.tokens):
            self.shop.tokens[token] = Grant(_whole(scopes), self.shop.tokens[token].expires_at)

    def _shown(self) -> dict[str, Any]:
        return {
            "installed": self.installed,
            "refuse": self.refuse,
            "mustExpire": self.must_expire,
            "scopes": sorted(self.allowed),
            "redirectUris": list(self.redirect_uris),
            "shop": self.domain,
        }


def _whole(scopes: frozenset[str]) -> frozenset[str]:
    """Whoever may write may also read."""
    read = {f"read_{one.removeprefix('write_')}" for one in scopes if one.startswith("write_")}
    return scopes | (read & set(SCOPES))


def _told(scopes: frozenset[str]) -> str:
    """As the token endpoint names them: what another one includes is left out."""
    return ",".join(sorted(one for one in scopes if one.replace("read_", "write_") not in scopes - {one}))


def _signed(told: Mapping[str, str]) -> str:
    text = urlencode(sorted(told.items()), quote_via=quote)
    return hmac.new(CLIENT_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


def _error(words: str) -> Response:
    return HTMLResponse(f"<h1>Shopify</h1><p>{words}</p>", 400)
