"""Amazon's usage plans of the operations we use: requests per second, and how many may be saved up.

Source: the operations' descriptions in Amazon's models. A plan holds per application, selling account, region and operation.
Two APIs name an operation alike twice; there one of the two has a name of ours: `getOutboundOrder` is the `getOrder` of
Fulfillment Outbound 2026-07-04, `cancelPurchase` the `cancelShipment` of Shipping v2.
"""

from __future__ import annotations

from collections.abc import Mapping

from domain.budget import Plan

_PUBLISHED = (
    Plan("searchCatalogItems", rate=2, burst=2),
    Plan("getCatalogItem", rate=2, burst=2),
    Plan("getInventorySummaries", rate=2, burst=2),
    Plan("getListingsItem", rate=5, burst=10),
    Plan("searchListingsItems", rate=5, burst=5),
    Plan("patchListingsItem", rate=5, burst=5),
    Plan("searchOrders", rate=0.0056, burst=20),
    Plan("getOrder", rate=0.5, burst=30),
    Plan("confirmShipment", rate=2, burst=10),
    Plan("getListingOffersBatch", rate=0.5, burst=1),
    Plan("getCompetitiveSummary", rate=0.033, burst=1),
    Plan("getFeaturedOfferExpectedPriceBatch", rate=0.033, burst=1),
    Plan("getMyFeesEstimates", rate=0.5, burst=1),
    Plan("listTransactions", rate=0.5, burst=10),
    Plan("getMarketplaceParticipations", rate=0.016, burst=15),
    Plan("createReport", rate=0.0167, burst=15),
    Plan("getReport", rate=2, burst=15),
    Plan("getReports", rate=0.0222, burst=10),
    Plan("cancelReport", rate=0.0222, burst=10),
    Plan("getReportDocument", rate=0.0167, burst=15),
    Plan("createFeedDocument", rate=0.5, burst=15),
    Plan("createFeed", rate=0.0083, burst=15),
    Plan("getFeed", rate=2, burst=15),
    Plan("getFeeds", rate=0.0222, burst=10),
    Plan("cancelFeed", rate=2, burst=15),
    Plan("getFeedDocument", rate=0.0222, burst=10),
    Plan("createQuery", rate=0.0167, burst=15),
    Plan("getQuery", rate=2, burst=15),
    Plan("getQueries", rate=0.0222, burst=10),
    Plan("cancelQuery", rate=0.0222, burst=10),
    Plan("getDocument", rate=0.0167, burst=15),
    Plan("getFulfillmentPreview", rate=2, burst=30),
    Plan("createFulfillmentOrder", rate=2, burst=30),
    Plan("getFulfillmentOrder", rate=2, burst=30),
    Plan("cancelFulfillmentOrder", rate=2, burst=30),
    Plan("getPackageTrackingDetails", rate=2, burst=30),
    Plan("listAllFulfillmentOrders", rate=2, burst=30),
    Plan("createFulfillmentReturn", rate=2, burst=30),
    Plan("listReturnReasonCodes", rate=2, burst=30),
    Plan("getOrderPreview", rate=2, burst=30),
    Plan("createOrder", rate=2, burst=30),
    Plan("getOutboundOrder", rate=2, burst=30),
    Plan("listOrders", rate=2, burst=30),
    Plan("cancelOrder", rate=2, burst=30),
    Plan("getEligibleShipmentServices", rate=6, burst=12),
    Plan("createShipment", rate=2, burst=2),
    Plan("getShipment", rate=1, burst=1),
    Plan("cancelShipment", rate=1, burst=1),
    Plan("getRates", rate=80, burst=100),
    Plan("purchaseShipment", rate=80, burst=100),
    Plan("getShipmentDocuments", rate=80, burst=100),
    Plan("getTracking", rate=80, burst=100),
    Plan("cancelPurchase", rate=80, burst=100),
    Plan("getDestinations", rate=1, burst=5),
    Plan("createDestination", rate=1, burst=5),
    Plan("deleteDestination", rate=1, burst=5),
    Plan("getSubscriptions", rate=1, burst=5),
    Plan("getSubscription", rate=1, burst=5),
    Plan("createSubscription", rate=1, burst=5),
    Plan("deleteSubscriptionById", rate=1, burst=5),
    Plan("createRestrictedDataToken", rate=1, burst=10),
    Plan("rotateApplicationClientSecret", rate=0.0167, burst=1),
)

PLANS: Mapping[str, Plan] = {plan.operation: plan for plan in _PUBLISHED}

# Amazon's own sandbox gives every operation the same.
SANDBOX_PLANS: Mapping[str, Plan] = {operation: Plan(operation, rate=5, burst=15) for operation in PLANS}
