"""What one self-built shop needs to be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from domain.channel import Channel
from domain.errors import Invalid


@dataclass(frozen=True, slots=True)
class RestConfig:
    """One shop at `url`, its API's root, with either a lasting `token` or a `client_id` and `client_secret` that buy tokens.

    `endpoint` replaces the address. `visibility_lag_s` is how long an accepted write may take to show up in reads. With
    `buyers` it is asked who bought, and where it goes. Raises Invalid
    for what cannot be an address or credentials.
    """

    channel: Channel
    url: str
    token: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    visibility_lag_s: float = 120.0
    endpoint: str | None = None
    buyers: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.home)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise Invalid(f"{self.home!r} is not the root of a shop's API such as https://shop.example/api/v1.")
        if parts.username or parts.password:
            raise Invalid(
                "A shop's address holds no credentials; give them as `token`, or `client_id` and `client_secret`."
            )
        if not self.token and not (self.client_id and self.client_secret):
            raise Invalid(f"{self.channel.id} needs a token, or a client_id and a client_secret.")

    @property
    def home(self) -> str:
        """The root, without a slash at the end."""
        return (self.endpoint or self.url).rstrip("/")

    @property
    def shop(self) -> str:
        """How people are told of it: its host."""
        return urlsplit(self.home).netloc
