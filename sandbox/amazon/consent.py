"""The page of Seller Central on which a seller lets the application in. It approves at once, unless it is told to refuse.

Source: the SP-API developer guide ("Website authorization workflow") and "Authorization Errors".
"""

from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.amazon.auth import Login
from sandbox.control import answer, endpoint

APPLICATION_ID = "amzn1.sellerapps.app.sandbox"
PATH = "/apps/authorize/consent"


class Consent:
    """The page and who is signed in there. An application with no registered redirect URI may name any."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.seller = login.accounts[0].seller
        self.draft = False
        self.refuse = False
        self.redirect_uris: tuple[str, ...] = ()

    def page(self, request: Request) -> Response:
        """The answer of GET /apps/authorize/consent."""
        query = request.query_params
        wanted = query.get("redirect_uri")
        back = wanted or next(iter(self.redirect_uris), None)
        if query.get("application_id") != APPLICATION_ID or (self.draft and query.get("version") != "beta"):
            return _error("MD1000", "The application cannot be authorized.")
        if back is None or (self.redirect_uris and back not in self.redirect_uris):
            return _error("MD5101", "The redirect URI is not one that the application has registered.")
        account = self.login.of_seller(self.seller)
        if self.refuse or account is None:
            return HTMLResponse("<h1>Seller Central</h1><p>The application was not authorized.</p>")
        told = {
            "state": query.get("state", ""),
            "selling_partner_id": account.seller,
            "spapi_oauth_code": self.login.consent(account, wanted),
        }
        joint = "&" if urlsplit(back).query else "?"
        return RedirectResponse(f"{back}{joint}{urlencode(told)}", 302)

    def routes(self) -> list[BaseRoute]:
        """GET and POST /_sandbox/consent."""
        return [
            Route("/consent", endpoint(lambda _: self._shown()), methods=["GET"]),
            Route("/consent", answer(self._change), methods=["POST"]),
        ]

    def _shown(self) -> dict[str, Any]:
        return {
            "applicationId": APPLICATION_ID,
            "seller": self.seller,
            "draft": self.draft,
            "refuse": self.refuse,
            "redirectUris": list(self.redirect_uris),
        }

    def _change(self, body: dict[str, Any]) -> dict[str, Any]:
        """ValueError changes nothing."""
        if not body or set(body) - {"seller", "draft", "refuse", "redirectUris"}:
            raise ValueError('send {"seller": ..., "draft": true|false, "refuse": true|false, "redirectUris": [...]}')
        seller, uris = body.get("seller", self.seller), body.get("redirectUris", list(self.redirect_uris))
        draft, refuse = body.get("draft", self.draft), body.get("refuse", self.refuse)
        if self.login.of_seller(seller) is None:
            raise ValueError(f"no account has the seller id {seller!r}")
        if not isinstance(draft, bool) or not isinstance(refuse, bool):
            raise ValueError("draft and refuse are true or false")
        if not isinstance(uris, list) or not all(isinstance(one, str) for one in uris):
            raise ValueError("redirectUris is a list of addresses")
        self.seller, self.draft, self.refuse, self.redirect_uris = seller, draft, refuse, tuple(uris)
        return self._shown()


def _error(code: str, words: str) -> Response:
    return HTMLResponse(f"<h1>Seller Central</h1><p>Error {code}: {words}</p>", 400)
