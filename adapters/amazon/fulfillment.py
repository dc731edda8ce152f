"""Which version of Fulfillment Outbound, and which shop for labels, an account uses."""

from __future__ import annotations

from adapters.amazon.client import Client
from adapters.amazon.outbound_2020 import Outbound2020
from adapters.amazon.outbound_2026 import Outbound2026
from adapters.fulfillment import Outbound
from domain.errors import Invalid

OUTBOUND = {"2020-07-01": Outbound2020, "2026-07-04": Outbound2026}


def outbound(client: Client, version: str) -> Outbound:
    """Raises Invalid for a version that there is not."""
    kind = OUTBOUND.get(version)
    if kind is None:
        raise Invalid(f"{version!r} is no version of Fulfillment Outbound; there are {', '.join(OUTBOUND)}.")
    return kind(client)
