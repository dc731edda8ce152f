"""What one Amazon channel needs to be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.amazon.marketplaces import REGIONS, TOKEN_ENDPOINT, host, marketplace
from domain.channel import Channel
from domain.errors import Invalid


@dataclass(frozen=True, slots=True)
class AmazonConfig:
    """One selling account in one region (`na`, `eu`, `fe`), with the application's credentials for it.

    `endpoint` replaces Amazon's address; it then answers for tokens too, under /auth/o2/token, unless `token_endpoint` says
    otherwise. The `refresh_token` holds until a consent is kept. `application_id`, `redirect_uri` and `draft` are for the page at
    which the seller consents. `outbound_version` is that of the API that ships other channels' orders from FBA. An operation that
    is refused for want of a role is tried again after `role_pause_s`. `visibility_lag_s` is how long an accepted write may take
    to show up in reads. With `buyers` it is asked who bought, and where it goes. Raises Invalid for a marketplace that is
    not of the region.
    """

    channel: Channel
    region: str
    seller_id: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    application_id: str | None = None
    redirect_uri: str | None = None
    draft: bool = False
    outbound_version: str = "2020-07-01"
    visibility_lag_s: float = 120.0
    role_pause_s: float = 60.0
    buyers: bool = False
    endpoint: str | None = None
    token_endpoint: str | None = None
    user_agent: str = "Acorn/0.1 (Language=Python)"

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise Invalid(f"{self.region!r} is not a selling region of Amazon; there are {', '.join(REGIONS)}.")
        if not self.channel.marketplaces:
            raise Invalid(f"{self.channel.id} names no marketplace; give at least one, such as DE.")
        for code in self.channel.marketplaces:
            if marketplace(code).region != self.region:
                raise Invalid(f"{code} is not sold from the region {self.region} but from {marketplace(code).region}.")

    @property
    def api(self) -> str:
        """Where the API is asked, without a slash at the end."""
        return (self.endpoint or host(self.region, self.channel.sandbox)).rstrip("/")

    @property
    def login(self) -> str:
        """Where access tokens come from."""
        return self.token_endpoint or (f"{self.api}/auth/o2/token" if self.endpoint else TOKEN_ENDPOINT)
