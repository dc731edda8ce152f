"""What one shop needs to be told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from domain.channel import Channel
from domain.errors import Invalid

_SHOP = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]*\.myshopify\.com")
_VERSION = re.compile(r"\d{4}-(01|04|07|10)|unstable")


@dataclass(frozen=True, slots=True)
class ShopifyConfig:
    """One shop, with either a lasting `access_token` or the `client_id` and `client_secret` of an app that asks for tokens.

    `endpoint` replaces the shop's address for everything, tokens included. `visibility_lag_s` is how long an accepted write may
    take to show up in reads. Raises Invalid for what cannot be a shop, a version or credentials.
    """

    channel: Channel
    shop: str
    access_token: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    api_version: str = "2026-07"
    visibility_lag_s: float = 120.0
    endpoint: str | None = None

    def __post_init__(self) -> None:
        if not _SHOP.fullmatch(self.shop):
            raise Invalid(f"{self.shop!r} is not a shop's address such as acorn.myshopify.com.")
        if not _VERSION.fullmatch(self.api_version):
            raise Invalid(f"{self.api_version!r} is not an API version such as 2026-07.")
        if not self.access_token and not (self.client_id and self.client_secret):
            raise Invalid(f"{self.channel.id} needs an access_token, or a client_id and a client_secret.")

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
