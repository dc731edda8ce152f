"""Usage plans: one strict bucket per (selling account, operation), as published in the models' descriptions.

`getOutboundOrder` is the `getOrder` of Fulfillment Outbound 2026-07-04, `cancelPurchase` the `cancelShipment` of Shipping v2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.bucket import Bucket
from sandbox.clock import Clock


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests per second, and how many at once after a pause."""

    rate: float
    burst: int


PLANS = {
    "searchCatalogItems": Plan(2, 2),
    "getCatalogItem": Plan(2, 2),
    "getInventorySummaries": Plan(2, 2),
    "getListingsItem": Plan(5, 10),
    "searchListingsItems": Plan(5, 5),
    "patchListingsItem": Plan(5, 5),
    "searchOrders": Plan(0.0056, 20),
    "getOrder": Plan(0.5, 30),
    "confirmShipment": Plan(2, 10),
    "getListingOffersBatch": Plan(0.5, 1),
    "getCompetitiveSummary": Plan(0.033, 1),
    "getFeaturedOfferExpectedPriceBatch": Plan(0.033, 1),
    "getMyFeesEstimates": Plan(0.5, 1),
    "listTransactions": Plan(0.5, 10),
    "getMarketplaceParticipations": Plan(0.016, 15),
    "createReport": Plan(0.0167, 15),
    "getReport": Plan(2, 15),
    "getReports": Plan(0.0222, 10),
    "cancelReport": Plan(0.0222, 10),
    "getReportDocument": Plan(0.0167, 15),
    "createFeedDocument": Plan(0.5, 15),
    "createFeed": Plan(0.0083, 15),
    "getFeed": Plan(2, 15),
    "getFeeds": Plan(0.0222, 10),
    "cancelFeed": Plan(2, 15),
    "getFeedDocument": Plan(0.0222, 10),
    "createQuery": Plan(0.0167, 15),
    "getQuery": Plan(2, 15),
    "getQueries": Plan(0.0222, 10),
    "cancelQuery": Plan(0.0222, 10),
    "getDocument": Plan(0.0167, 15),
    "getFulfillmentPreview": Plan(2, 30),
    "createFulfillmentOrder": Plan(2, 30),
    "getFulfillmentOrder": Plan(2, 30),
    "cancelFulfillmentOrder": Plan(2, 30),
    "getPackageTrackingDetails": Plan(2, 30),
    "listAllFulfillmentOrders": Plan(2, 30),
    "createFulfillmentReturn": Plan(2, 30),
    "listReturnReasonCodes": Plan(2, 30),
    "getOrderPreview": Plan(2, 30),
    "createOrder": Plan(2, 30),
    "getOutboundOrder": Plan(2, 30),
    "listOrders": Plan(2, 30),
    "cancelOrder": Plan(2, 30),
    "getEligibleShipmentServices": Plan(6, 12),
    "createShipment": Plan(2, 2),
    "getShipment": Plan(1, 1),
    "cancelShipment": Plan(1, 1),
    "getRates": Plan(80, 100),
    "purchaseShipment": Plan(80, 100),
    "getShipmentDocuments": Plan(80, 100),
    "getTracking": Plan(80, 100),
    "cancelPurchase": Plan(80, 100),
    "getDestinations": Plan(1, 5),
    "createDestination": Plan(1, 5),
    "deleteDestination": Plan(1, 5),
    "getSubscriptions": Plan(1, 5),
    "getSubscription": Plan(1, 5),
    "createSubscription": Plan(1, 5),
    "deleteSubscriptionById": Plan(1, 5),
    "createRestrictedDataToken": Plan(1, 10),
    "rotateApplicationClientSecret": Plan(0.0167, 1),
}

# Operations that only Amazon's own sandbox has, to set a status; its plan is the same for all.
SANDBOX_ONLY = dict.fromkeys(("submitFulfillmentOrderStatusUpdate", "updateOrderStatus", "updatePackage"), Plan(5, 15))


class Plans:
    """The plans in force. The buckets run on the sandbox clock: at speed s they refill s times as fast."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._plans = dict(PLANS)
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take(self, seller: str, operation: str) -> bool:
        """Take one request's token; False means 429."""
        plan = self._plans.get(operation) or SANDBOX_ONLY[operation]
        bucket = self._buckets.get((seller, operation))
        if bucket is None:
            bucket = self._buckets[seller, operation] = Bucket(plan.rate, plan.burst, self._clock)
        return bucket.take()

    def header(self, operation: str) -> str:
        """The rate a client on the real clock sees, for x-amzn-RateLimit-Limit."""
        plan = self._plans.get(operation) or SANDBOX_ONLY[operation]
        return f"{plan.rate * self._clock.speed:.10g}"

    def replace(self, bodies: Mapping[str, Any]) -> None:
        """Override plans, {"operation": {"rate", "burst"}}, with full buckets. ValueError changes nothing."""
        changed: dict[str, Plan] = {}
        for operation, body in bodies.items():
            if operation not in PLANS:
                raise ValueError(f"no operation {operation!r}; there are {', '.join(PLANS)}")
            if not isinstance(body, Mapping) or set(body) - {"rate", "burst"}:
                raise ValueError(f'{operation} takes {{"rate": requests per second, "burst": count}}')
            old = self._plans[operation]
            plan = Plan(float(body.get("rate", old.rate)), int(body.get("burst", old.burst)))
            if plan.rate < 0 or plan.burst < 1:
                raise ValueError("a rate is not negative and a burst is at least 1")
            changed[operation] = plan
        self._plans |= changed
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key[1] not in changed}

    def shown(self) -> dict[str, Any]:
        return {operation: {"rate": plan.rate, "burst": plan.burst} for operation, plan in self._plans.items()}
