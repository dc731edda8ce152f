"""Which scope opens what, by field coordinate. A field that is not named here is open to whoever may read its parent; a test
holds that every root field is named. One of the scopes is enough."""

from __future__ import annotations

from collections.abc import Mapping

from domain.scope import INSIDERS, WRITERS

ALL = frozenset(
    {
        "stock:read",
        "stock:reserve",
        "catalog:read",
        "catalog:write",
        "orders:read",
        "orders:pii",
        "shipments:write",
        "refunds:write",
        "prices:write",
        "stock:write",
        "finance:read",
        "finance:write",
        "operations:approve",
        "schema:read",
        "apicalls:read",
        "webhooks:write",
        "channels:write",
        "admin",
    }
)

_ANY = ALL


def _only(*scopes: str) -> frozenset[str]:
    return frozenset({*scopes, "admin"})


_WEBHOOKS = _only("webhooks:write")
_PRICES = _only("prices:write", "operations:approve", "finance:read")
_COSTS = _only("finance:read", "prices:write")
_MONEY = _only("finance:read")
_BOOKS = _only("finance:write")

# What a client may learn of the schema: all of it by introspection, and names near to a mistyped one.
SCHEMA = _only("schema:read")

SCOPES: Mapping[str, frozenset[str]] = {
    "Query.__schema": SCHEMA,
    "Query.__type": SCHEMA,
    "Query.node": _ANY,  # the type it answers is checked again in the resolver
    "Query.stock": _only("stock:read"),
    "Query.product": _only("catalog:read"),
    "Query.products": _only("catalog:read"),
    "Query.order": _only("orders:read"),
    "Query.orders": _only("orders:read"),
    "Query.trackingProblems": _only("shipments:write"),
    "Query.orderQueue": _only("orders:read"),
    "Query.holdRules": _only("orders:read"),
    "Query.returnChains": _only("orders:read"),
    # Of which kinds is decided by READERS: whoever may read a list may see how its file comes about.
    "Query.operation": INSIDERS,
    "Query.operations": INSIDERS,
    "Query.channels": INSIDERS,
    "Query.budgets": INSIDERS,
    "Query.stockEntries": _only("stock:write"),
    "Query.stockRules": _only("stock:write"),
    "Query.previewStockRule": _only("stock:write"),
    "Query.sourcingRules": _only("orders:read", "stock:write"),
    "Query.previewSourcingRules": _only("stock:write"),
    "Query.unitCosts": _COSTS,
    "Query.priceInputs": _only("prices:write"),
    "Query.priceGuards": _only("prices:write", "operations:approve"),
    "Query.priceGuardVersions": _only("prices:write", "operations:approve"),
    "Query.mappingTasks": _only("catalog:write"),
    "Query.kits": _only("catalog:read", "stock:write"),
    "Query.stockDrift": INSIDERS,
    "Query.oversales": INSIDERS,
    "Query.priceRules": _only("prices:write", "operations:approve"),
    "Query.priceRuleVersions": _only("prices:write", "operations:approve"),
    # What prices are made of tells costs.
    "Query.previewPriceRules": _only("prices:write"),
    "Query.explainPrice": _only("prices:write"),
    "Query.priceDrift": INSIDERS,
    "Query.priceHistory": _PRICES,
    "Query.orderDifferences": INSIDERS,
    "Query.orderComparisons": INSIDERS,
    "OrderDifference.order": _only("orders:read"),
    "Query.ledgerCheck": INSIDERS,
    "Query.settlements": _MONEY,
    "Query.profit": _MONEY,
    "Query.journal": _MONEY,
    "Query.journals": _MONEY,
    "Query.journalDocument": _MONEY,
    "Query.bankLines": _MONEY,
    "Query.unmatchedPayouts": _MONEY,
    "Query.profitChanges": _MONEY,
    "Query.residuals": _MONEY,
    "Query.residualSummary": _MONEY,
    "Query.missingSettlements": _MONEY,
    "Query.settlementFiles": _MONEY,
    "Query.unclassifiedMoney": _MONEY,
    "Query.classifiedMoney": _MONEY,
    "Query.apiCalls": _only("apicalls:read"),
    "Query.webhookEndpoints": _WEBHOOKS,
    "Query.webhookEndpoint": _WEBHOOKS,
    "Query._entities": _ANY,  # each type asked for is checked again, as for node
    "Query._service": SCHEMA,
    "Mutation.confirmShipments": _only("shipments:write"),
    "Mutation.shipFromFba": _only("shipments:write"),
    "Mutation.cancelOutbound": _only("shipments:write"),
    "Mutation.returnOutbound": _only("shipments:write"),
    "Mutation.holdOrders": _only("shipments:write"),
    "Mutation.releaseOrders": _only("shipments:write"),
    "Mutation.approveOrders": _only("operations:approve"),
    "Mutation.setHoldRule": _only("shipments:write"),
    "Mutation.removeHoldRule": _only("shipments:write"),
    "Mutation.cancelOrders": _only("shipments:write"),
    "Mutation.refundOrders": _only("refunds:write"),
    "Query.labelOffers": _only("shipments:write"),
    "Mutation.buyLabels": _only("shipments:write"),
    "Mutation.voidLabels": _only("shipments:write"),
    "Mutation.adjustStock": _only("stock:write"),
    "Mutation.restockReturn": _only("stock:write"),
    # A check-out holds stock and does nothing else: what its key may not see stays hidden.
    "Mutation.reserveStock": _only("stock:reserve", "stock:write"),
    "Mutation.commitReservation": _only("stock:reserve", "stock:write"),
    "Mutation.releaseReservation": _only("stock:reserve", "stock:write"),
    "Mutation.setStockRule": _only("stock:write"),
    "Mutation.removeStockRule": _only("stock:write"),
    "Mutation.setSourcingRules": _only("stock:write"),
    "Mutation.updatePrices": _only("prices:write"),
    "Mutation.setPriceRules": _only("prices:write"),
    "Mutation.applyPriceRules": _only("prices:write"),
    "Mutation.setUnitCosts": _only("prices:write"),
    "Mutation.setPriceGuards": _only("operations:approve"),  # who writes prices does not loosen what holds them
    "Mutation.assignResidual": _BOOKS,
    "Mutation.closeJournal": _BOOKS,
    "Mutation.matchBankLine": _BOOKS,
    "Mutation.retrySettlementFile": _BOOKS,
    "Mutation.classifyMoney": _BOOKS,
    "Mutation.moveFulfillment": _only("stock:write", "shipments:write"),
    "Mutation.setKit": _only("stock:write"),
    "Mutation.answerMappingTask": _only("catalog:write"),
    "Mutation.ignoreMappingTask": _only("catalog:write"),
    "Mutation.syncNow": _only("channels:write"),
    "Mutation.backfillOrders": _only("channels:write"),
    "Mutation.requestReport": _only("channels:write"),
    "Mutation.requestExport": _only("finance:read", "orders:read"),  # the resolver asks again, by the list
    "Mutation.pauseStreams": _only("channels:write"),
    "Mutation.resumeStreams": _only("channels:write"),
    "Mutation.checkLedger": _only("stock:write"),
    "Mutation.revertOperation": _only("stock:write", "prices:write"),  # the resolver asks again, by its kind
    "Mutation.approveOperation": _only("operations:approve"),
    "Mutation.cancelOperation": WRITERS - {"operations:approve"},
    "Mutation.retryOperation": WRITERS - {"operations:approve"},
    # Which events a key may have told is decided by its other scopes.
    "Mutation.createWebhook": _WEBHOOKS,
    "Mutation.updateWebhook": _WEBHOOKS,
    "Mutation.deleteWebhook": _WEBHOOKS,
    "Mutation.rotateWebhookSecret": _WEBHOOKS,
    "Mutation.replayWebhook": _WEBHOOKS,
    "Mutation.redeliverWebhook": _WEBHOOKS,
    "Mutation.testWebhook": _WEBHOOKS,
    "Subscription.operation": INSIDERS,
    "Subscription.stock": _only("stock:read"),
    "Subscription.orders": _only("orders:read"),
    # What a storefront's key must not see through a product.
    "Product.unitCost": _only("finance:read"),
    "Product.stock": _only("stock:read"),
    "Stock.exposure": INSIDERS,
    "ChannelStock.lastError": INSIDERS,
    "Stock.product": _only("catalog:read"),
    "Kit.product": _only("catalog:read"),
    "Oversale.order": _only("orders:read"),
    "Listing.priceAt": _PRICES,
    "PriceDrift.listing": _only("catalog:read", "prices:write"),
    "FulfillmentOrder.order": _only("orders:read"),
    "SourcingMove.order": _only("orders:read"),
    "Order.moneyLines": _MONEY,
    "MoneyLine.order": _only("orders:read"),
    "MoneyLine.orderLine": _only("orders:read"),
    "Order.apiCalls": _only("apicalls:read"),
    "OrderStep.apiCalls": _only("apicalls:read"),
    "OperationItem.apiCalls": _only("apicalls:read"),
    # Beside a price it tells the cost; so do the steps of rules, and the words of a guard that refused.
    "PriceChange.margin": _COSTS,
    "PriceChange.marginPercent": _COSTS,
    "PriceEvent.rules": _COSTS,
    "PriceDrift.message": _PRICES,
    "OrderLine.product": _only("catalog:read"),
    "Channel.healthy": INSIDERS,
    "Channel.ailments": INSIDERS,
    "Channel.streams": INSIDERS,
    "Channel.budgets": INSIDERS,
    "Channel.stockLag": INSIDERS,
    "Channel.driftCounts": INSIDERS,
}

# What a shop's page may show to anybody, and a cache on the way may keep: an operation that selects nothing else.
PUBLIC = frozenset({"Query.stock", "Stock.sku", "Stock.availableToSell", "Stock.asOf", "Stock.freshness"})

# What is the same for all who may read it, and changes only by events and time that the stock cache knows of: the answer to an
# operation that selects nothing else may be kept for a moment, and given again.
LASTING = frozenset(
    {"Query.stock"}
    | {f"Stock.{name}" for name in ("sku", "availableToSell", "onHand", "reserved", "inbound", "safetyStock", "asOf")}
    | {f"Stock.{name}" for name in ("freshness", "levels", "explanation")}
    | {
        f"StockLevel.{name}"
        for name in ("location", "onHand", "reserved", "inbound", "availableToSell", "asOf", "freshness")
    }
    | {f"Location.{name}" for name in ("code", "name", "kind")}
    | {
        f"StockTerm.{name}"
        for name in ("label", "quantity", "source", "asOf", "ageSeconds", "rule", "upstreamRequestId")
    }
)

NODE_SCOPES: Mapping[str, frozenset[str]] = {
    "Product": SCOPES["Query.product"],
    "Listing": SCOPES["Query.product"],
    "Order": SCOPES["Query.order"],
    "FulfillmentOrder": SCOPES["Query.order"],
    "Operation": SCOPES["Query.operation"],
    "Channel": SCOPES["Query.channels"],
    "Reservation": SCOPES["Mutation.reserveStock"],
    "Settlement": SCOPES["Query.settlements"],
    "MoneyLine": SCOPES["Query.settlements"],
}
