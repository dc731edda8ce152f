"""Amazon's usage plans of the operations we use: requests per second, and how many may be saved up.

Source: the operations' descriptions in Amazon's models. A plan holds per application, selling account, region and operation.
"""

from __future__ import annotations

from collections.abc import Mapping

from domain.budget import Plan

_PUBLISHED = (
    Plan("getInventorySummaries", rate=2, burst=2),
    Plan("searchListingsItems", rate=5, burst=5),
    Plan("patchListingsItem", rate=5, burst=5),
    Plan("searchOrders", rate=0.0056, burst=20),
    Plan("getOrder", rate=0.5, burst=30),
    Plan("confirmShipment", rate=2, burst=10),
    Plan("getMarketplaceParticipations", rate=0.016, burst=15),
)

PLANS: Mapping[str, Plan] = {plan.operation: plan for plan in _PUBLISHED}

# Amazon's own sandbox gives every operation the same.
SANDBOX_PLANS: Mapping[str, Plan] = {operation: Plan(operation, rate=5, burst=15) for operation in PLANS}
