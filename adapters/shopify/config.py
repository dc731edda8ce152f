"""What one shop needs to be told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from adapters.shopify.scopes import ASKED
from domain.channel import Channel
from domain.errors import Invalid

_SHOP = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]*\.myshopify\.com")
_VERSION = re.compile(r"\d{4}-(01|04|07|10)|unstable")


class Kind(Enum):
    """How access tokens are come by. Source: Shopify's documentation, "Authentication and authorization".

    TOKEN: one that lasts, of an app that was made in the shop's admin. CLIENT_CREDENTIALS: a day's token for the app's own id and
    secret, of an app of the shop's own organization. EXPIRING: an hour's token for a refresh token, which the shop's consent has
    given and which changes at each use. LASTING: a token that lasts, which the shop's consent has given.
    """

    TOKEN = "token"  # noqa: S105  a kind
    CLIENT_CREDENTIALS = "client_credentials"
    EXPIRING = "expiring"
    LASTING = "lasting"

    @property
    def consents(self) -> bool:
        """Whether the shop's owner lets the app in on a page of Shopify's."""
        return self in (Kind.EXPIRING, Kind.LASTING)

    @property
    def lasts(self) -> bool:
        """Whether what is kept is the access token itself."""
        return self in (Kind.TOKEN, Kind.LASTING)


@dataclass(frozen=True, slots=True)
class ShopifyConfig:
    """One shop, and how access tokens for it are come by: `grant`, or the one of two that the other fields speak for.

    An `access_token` holds until another one is kept. `redirect_uri` and `scopes` are for the page at which the owner consents.
    `endpoint` replaces the shop's address for everything, tokens and consents included. A document that is refused for want of a
    scope is tried again after `scope_pause_s`. `visibility_lag_s` is how long an accepted write may take to show up in reads.
    With `buyers` it is asked who bought, and where it goes. Raises Invalid for what cannot be a shop, a version or credentials.
    """

    channel: Channel
    shop: str
    access_token: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    api_version: str = "2026-07"
    visibility_lag_s: float = 120.0
    endpoint: str | None = None
    grant: Kind | None = None
    redirect_uri: str | None = None
    scopes: tuple[str, ...] = ASKED
    scope_pause_s: float = 60.0
    buyers: bool = False

    def __post_init__(self) -> None:
        id = self.channel.id
        if not _SHOP.fullmatch(self.shop):
            raise Invalid(f"{self.shop!r} is not a shop's address such as acorn.myshopify.com.")
        if not _VERSION.fullmatch(self.api_version):
            raise Invalid(f"{self.api_version!r} is not an API version such as 2026-07.")
        app = bool(self.client_id and self.client_secret)
        if self.grant is None and not self.access_token and not app:
            raise Invalid(f"{id} needs an access_token, or a client_id and a client_secret.")
        if self.kind is not Kind.TOKEN and not app:
            raise Invalid(f'{id} needs a client_id and a client_secret for grant = "{self.kind.value}".')
        if self.kind is not Kind.TOKEN and self.access_token:
            raise Invalid(f'{id} has an access_token, which grant = "{self.kind.value}" has no use for; remove one.')

    @property
    def kind(self) -> Kind:
        """How access tokens are come by."""
        return self.grant or (Kind.TOKEN if self.access_token else Kind.CLIENT_CREDENTIALS)

    @property
    def home(self) -> str:
        """Where the shop is asked, without a slash at the end."""
        return (self.endpoint or f"https://{self.shop}").rstrip("/")

    @property
    def api(self) -> str:
        """Where documents are sent."""
        return f"{self.home}/admin/api/{self.api_version}/graphql.json"

    @property
    def login(self) -> str:
        """Where access tokens come from."""
        return f"{self.home}/admin/oauth/access_token"

    @property
    def authorize(self) -> str:
        """Where the owner consents."""
        return f"{self.home}/admin/oauth/authorize"

    @property
    def again(self) -> str:
        """The command that gives the channel a token anew; it says what to do for a kind that needs none."""
        id = self.channel.id
        return f"acorn channels {'authorize' if self.kind.consents else 'token'} shopify {id}"
