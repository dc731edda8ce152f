"""What a platform tells by itself of what comes back; shops tell it with each order's refunds (`adapters.storefront.Refunds`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol, runtime_checkable

from adapters.port import OrderKey, Page
from domain.budget import Ask
from domain.chain import Piece


@runtime_checkable
class Returns(Protocol):
    """Tells of returns, refunds and reimbursements of all orders."""

    def return_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Piece]]:
        """All that was told since then, the same piece under the same reference however often, by the platform's own names.

        What cannot be understood is among `rejected`. A page without `until` on the way says that there is more to come.
        """
        ...


@runtime_checkable
class RefundsTold(Protocol):
    """Tells the refunds of one order as pieces."""

    async def refunds_told(self, key: OrderKey, ask: Ask) -> Page[Piece]:
        """All of them, the same piece under the same reference as `Returns` tells it. What cannot be understood is among
        `rejected`."""
        ...
