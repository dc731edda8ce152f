"""Which roles of an application open which operations: any one of those named does. What stands here nowhere is open to all."""

from collections.abc import Collection

DELIVERY = "Direct-to-Consumer Delivery (Restricted)"
INVOICING = "Tax Invoicing (Restricted)"
REMITTANCE = "Tax Remittance (Restricted)"
LISTING, PRICING, TRACKING = "Product Listing", "Pricing", "Inventory and Order Tracking"
FULFILLMENT, FINANCE, INSIGHTS = "Amazon Fulfillment", "Finance and Accounting", "Selling Partner Insights"
ROLES = (LISTING, PRICING, TRACKING, FULFILLMENT, FINANCE, INSIGHTS, DELIVERY, INVOICING, REMITTANCE)

_ORDERS = (TRACKING, DELIVERY, INVOICING, REMITTANCE)
_OUTBOUND = (FULFILLMENT,)
_OPENED_BY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("searchCatalogItems", "getCatalogItem"), (LISTING,)),
    **dict.fromkeys(("getListingsItem", "searchListingsItems", "patchListingsItem"), (LISTING, TRACKING)),
    "getInventorySummaries": (FULFILLMENT, LISTING),
    **dict.fromkeys(("searchOrders", "getOrder", "confirmShipment"), _ORDERS),
    **dict.fromkeys(
        ("getListingOffersBatch", "getCompetitiveSummary", "getFeaturedOfferExpectedPriceBatch", "getMyFeesEstimates"),
        (PRICING,),
    ),
    "listTransactions": (FINANCE,),
    "getMarketplaceParticipations": (INSIGHTS,),
    **dict.fromkeys(("getFulfillmentPreview", "createFulfillmentOrder", "getFulfillmentOrder"), _OUTBOUND),
    **dict.fromkeys(("cancelFulfillmentOrder", "getPackageTrackingDetails", "listAllFulfillmentOrders"), _OUTBOUND),
    **dict.fromkeys(("createFulfillmentReturn", "listReturnReasonCodes"), _OUTBOUND),
    **dict.fromkeys(("getOrderPreview", "createOrder", "getOutboundOrder", "listOrders", "cancelOrder"), _OUTBOUND),
    **dict.fromkeys(("getEligibleShipmentServices", "createShipment", "getShipment", "cancelShipment"), (DELIVERY,)),
    **dict.fromkeys(
        ("getRates", "purchaseShipment", "getShipmentDocuments", "getTracking", "cancelPurchase"), (DELIVERY,)
    ),
}


def opens(operation: str, lacking: Collection[str]) -> bool:
    """Whether an application without the roles of `lacking` may call `operation`."""
    roles = _OPENED_BY.get(operation)
    return roles is None or any(role not in lacking for role in roles)
