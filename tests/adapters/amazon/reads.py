"""What the tests of catalog, pricing, fees and finances stand on."""

from __future__ import annotations

from adapters.amazon.client import Client
from adapters.amazon.plans import PLANS
from domain.budget import Plan
from tests.adapters.amazon.bench import Desk, Sandbox

OPERATIONS = (
    "searchCatalogItems",
    "getCatalogItem",
    "getListingOffersBatch",
    "getCompetitiveSummary",
    "getFeaturedOfferExpectedPriceBatch",
    "getMyFeesEstimates",
    "listTransactions",
)


def client_at(desk: Desk) -> Client:
    """The desk's way to Amazon, with plans that keep no test waiting."""
    quick = {name: Plan(name, rate=1000, burst=1000) for name in PLANS}
    return Client(desk.config, quick, desk.transport, desk.tokens, desk.budgets)


async def lift_plans(sandbox: Sandbox) -> None:
    """The same on the other side."""
    await sandbox.generous(*OPERATIONS)
