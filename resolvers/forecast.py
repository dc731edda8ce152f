"""What an operation will ask of platforms, before anything is asked.

An operation is rehearsed: it runs on what is stored, by the same resolvers, and where one of these is about to ask platforms, a
`Forecast` takes down what it would ask and lets it go on without. No rule of what is asked, and when, stands here a second time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.budget import Margins
from adapters.port import StockKey
from domain.budget import BudgetState, Plan
from domain.errors import Throttled
from domain.freshness import young_enough
from domain.ids import ChannelId
from resolvers.live import Due, Source
from resolvers.shelf import Shelf
from resolvers.stock import PATIENCE_S

# The fields whose resolvers may ask platforms.
LIVE = frozenset({"Query.stock", "Product.stock", "Query.labelOffers"})

# Where each root field reads: tables, but for what has another name here. Changes are told to platforms by workers, later, and
# stand on no request's bill.
READS: Mapping[str, tuple[str, ...]] = {
    "Query.node": ("product", "listing", "order", "order_allocation", "operation", "reservation", "money_line"),
    "Query.stock": ("stock_level", "stock_balance", "reservation", "stock_rule"),
    "Query.product": ("product",),
    "Query.products": ("product",),
    "Query.order": ("order",),
    "Query.orders": ("order",),
    "Query.trackingProblems": ("tracking_row",),
    "Query.orderQueue": ("order", "operation"),
    "Query.holdRules": ("hold_rule",),
    "Query.returnChains": ("return_chain", "return_piece"),
    "Query.operation": ("operation",),
    "Query.operations": ("operation",),
    "Query.channels": (),
    "Query.budgets": (),
    "Query.stockEntries": ("stock_entry",),
    "Query.ledgerCheck": ("ledger_check",),
    "Query.stockRules": ("stock_rule",),
    "Query.previewStockRule": ("stock_rule", "channel_stock"),
    "Query.sourcingRules": ("sourcing_rules",),
    "Query.previewSourcingRules": ("order", "order_allocation", "stock_entry"),
    "Query.unitCosts": ("unit_cost",),
    "Query.priceInputs": ("listing", "listing_price", "unit_cost", "fee_estimate", "featured_offer", "fx_rate"),
    "Query.priceGuards": ("price_guards",),
    "Query.priceGuardVersions": ("price_guards",),
    "Query.kits": ("kit_component",),
    "Query.mappingTasks": ("mapping_task",),
    "Query.stockDrift": ("stock_drift",),
    "Query.oversales": ("oversale",),
    "Query.priceRules": ("price_rules",),
    "Query.priceRuleVersions": ("price_rules",),
    "Query.previewPriceRules": (
        "price_rules",
        "listing",
        "listing_price",
        "unit_cost",
        "fee_estimate",
        "featured_offer",
    ),
    "Query.explainPrice": ("price_rules", "listing", "listing_price", "unit_cost", "fee_estimate", "featured_offer"),
    "Query.priceDrift": ("listing_price",),
    "Query.priceHistory": ("price_event",),
    "Query.orderDifferences": ("order_difference",),
    "Query.orderComparisons": ("order_compare",),
    "Query.settlements": ("settlement", "money_line"),
    "Query.profit": ("money_line", "restock", "unit_cost", "fx_rate"),
    "Query.profitChanges": ("money_line", "restock", "unit_cost", "fx_rate", "settlement"),
    "Query.journal": ("money_line", "restock", "unit_cost", "settlement"),
    "Query.journals": ("journal",),
    "Query.journalDocument": ("journal", "fx_rate"),
    "Query.bankLines": ("bank_line",),
    "Query.unmatchedPayouts": ("settlement", "bank_line"),
    "Query.residuals": ("money_line",),
    "Query.residualSummary": ("money_line",),
    "Query.missingSettlements": ("settlement", "money_line"),
    "Query.settlementFiles": ("finance_file",),
    "Query.unclassifiedMoney": ("money_line",),
    "Query.classifiedMoney": ("money_word",),
    "Query.apiCalls": ("exchange",),
    "Query.webhookEndpoints": ("webhook",),
    "Query.webhookEndpoint": ("webhook",),
    "Query._entities": ("product", "order"),
    "Query._service": (),
    "Mutation.confirmShipments": ("operation",),
    "Mutation.shipFromFba": ("operation",),
    "Mutation.cancelOutbound": ("operation",),
    "Mutation.returnOutbound": ("operation",),
    "Mutation.holdOrders": ("order", "order_hold"),
    "Mutation.releaseOrders": ("order", "order_hold"),
    "Mutation.approveOrders": ("order", "order_hold"),
    "Mutation.setHoldRule": ("hold_rule",),
    "Mutation.removeHoldRule": ("hold_rule",),
    "Mutation.cancelOrders": ("operation",),
    "Mutation.refundOrders": ("operation",),
    "Query.labelOffers": ("order", "label"),
    "Mutation.buyLabels": ("operation", "label"),
    "Mutation.voidLabels": ("operation", "label"),
    "Mutation.adjustStock": ("stock_entry",),
    "Mutation.restockReturn": ("stock_entry", "return_piece"),
    "Mutation.reserveStock": ("reservation",),
    "Mutation.commitReservation": ("reservation",),
    "Mutation.releaseReservation": ("reservation",),
    "Mutation.setStockRule": ("stock_rule",),
    "Mutation.removeStockRule": ("stock_rule",),
    "Mutation.setSourcingRules": ("sourcing_rules",),
    "Mutation.setUnitCosts": ("unit_cost",),
    "Mutation.setPriceGuards": ("price_guards",),
    "Mutation.assignResidual": ("money_line",),
    "Mutation.closeJournal": ("journal", "money_line", "restock", "unit_cost", "settlement"),
    "Mutation.matchBankLine": ("bank_line", "settlement"),
    "Mutation.retrySettlementFile": ("finance_file",),
    "Mutation.classifyMoney": ("money_word", "money_line"),
    "Mutation.moveFulfillment": ("order", "order_allocation", "stock_entry"),
    "Mutation.setKit": ("kit_component",),
    "Mutation.answerMappingTask": ("mapping_task", "product"),
    "Mutation.ignoreMappingTask": ("mapping_task",),
    "Mutation.syncNow": ("operation",),
    "Mutation.backfillOrders": ("operation",),
    "Mutation.requestReport": ("operation",),
    "Mutation.requestExport": ("operation",),
    "Mutation.pauseStreams": ("sync_stream",),
    "Mutation.resumeStreams": ("sync_stream",),
    "Mutation.checkLedger": ("ledger_check",),
    "Mutation.revertOperation": ("operation", "stock_entry", "price_event"),
    "Mutation.updatePrices": ("operation", "listing_price"),
    "Mutation.setPriceRules": ("price_rules",),
    "Mutation.applyPriceRules": (
        "operation",
        "price_rules",
        "listing_price",
        "unit_cost",
        "fee_estimate",
        "featured_offer",
    ),
    "Mutation.approveOperation": ("operation",),
    "Mutation.cancelOperation": ("operation",),
    "Mutation.retryOperation": ("operation",),
    "Mutation.createWebhook": ("webhook",),
    "Mutation.updateWebhook": ("webhook", "webhook_delivery"),
    "Mutation.deleteWebhook": ("webhook", "webhook_delivery"),
    "Mutation.rotateWebhookSecret": ("webhook",),
    "Mutation.replayWebhook": ("webhook", "event"),
    "Mutation.redeliverWebhook": ("webhook", "webhook_delivery"),
    "Mutation.testWebhook": ("webhook", "webhook_delivery"),
    "Subscription.operation": ("event", "operation"),
    "Subscription.orders": ("event", "order"),
    "Subscription.stock": ("event", "stock_level", "stock_balance", "reservation", "stock_rule"),
}


@dataclass(slots=True)
class _Flight:
    """Keys that would share calls to one source. Whoever asked before `opened_at` shares it, and waits `patience_s` for it."""

    source: Source
    opened_at: datetime
    keys: int
    patience_s: float

    @property
    def calls(self) -> int:
        return math.ceil(self.keys / self.source.port.stock_batch)


@dataclass(frozen=True, slots=True)
class Expected:
    """Calls of one upstream operation of one channel. `tokens` are what its rate budget holds now, `rate` what it gains a second;
    the last call begins after `wait_s`, and its answer is there after `takes_s`."""

    channel: ChannelId
    operation: str
    calls: int
    tokens: float
    rate: float
    wait_s: float
    takes_s: float


class Forecast:
    """Takes down what a rehearsal would ask. `deadline_s` is the time that the operation has."""

    def __init__(self, shelf: Shelf, deadline_s: float) -> None:
        self._shelf = shelf
        self._deadline_s = deadline_s
        self._told_at: dict[tuple[str, StockKey], datetime] = {}
        self._flights: dict[str, list[_Flight]] = defaultdict(list)

    async def __call__(self, dues: Sequence[Due]) -> bool:
        """What platforms would be asked now; never to be asked."""
        for due in dues:
            await self._note(due, due.never, patient=True)
            await self._note(due, due.aged, patient=False)
        return False

    async def expected(self) -> list[Expected]:
        """The calls that would be made, by channel and operation; those that no rate budget has a slot for in time are not."""
        groups: dict[tuple[ChannelId, Plan, str, float], list[_Flight]] = defaultdict(list)
        for flights in self._flights.values():
            port = flights[0].source.port
            groups[port.channel.id, port.stock_plan, *port.stock_call] += flights
        states = await self._states([(channel, plan) for channel, plan, *_ in groups])
        return [
            _expected(state, operation, tokens, flights)
            for state, ((_, _, operation, tokens), flights) in zip(states, groups.items(), strict=True)
        ]

    async def _note(self, due: Due, keys: Sequence[StockKey], *, patient: bool) -> None:
        live, source, now = self._shelf.live, due.source, self._shelf.clock()
        wanted = [key for key in keys if not self._told(due, key, now)]
        if not wanted or await live.obstacle(source, wanted, patient=patient) is not None:
            return
        unclaimed = await live.unclaimed(source, wanted)
        # Fields side by side rehearse side by side: another may have noted the same meanwhile.
        asked = [key for key in unclaimed if not self._told(due, key, now)]
        if not asked:
            return
        patience_s = self._deadline_s if patient else min(PATIENCE_S, self._deadline_s)
        flights = self._flights[source.name]
        if not flights or flights[-1].opened_at < due.since:
            flights.append(_Flight(source, self._shelf.clock(), 0, 0.0))
        flights[-1].keys += len(asked)
        flights[-1].patience_s = max(flights[-1].patience_s, patience_s)
        for key in asked:
            self._told_at[source.name, key] = flights[-1].opened_at

    def _told(self, due: Due, key: StockKey, now: datetime) -> bool:
        """Whether what this operation has asked before answers this too."""
        told_at = self._told_at.get((due.source.name, key))
        return told_at is not None and (told_at >= due.since or young_enough(told_at, now, due.max_age))

    async def _states(self, plans: Sequence[tuple[ChannelId, Plan]]) -> list[BudgetState]:
        try:
            return await self._shelf.budgets.states(plans)
        except Throttled:  # without Redis nothing is granted
            return [BudgetState(channel, plan.operation, 0.0, 0.0, 0.0, 0, 0) for channel, plan in plans]


def _expected(state: BudgetState, operation: str, tokens: float, flights: Sequence[_Flight]) -> Expected:
    rate = state.rate * Margins().rate_share
    free = state.remaining - state.waiting * tokens
    calls, wait_s = 0, 0.0
    for flight in flights:
        for _ in range(flight.calls):
            missing = (calls + 1) * tokens - free
            next_s = 0.0 if missing <= 0 else missing / rate if rate else math.inf
            if next_s <= flight.patience_s:
                calls, wait_s = calls + 1, next_s
    usual_s = max(flight.source.usual_s for flight in flights)
    takes_s = wait_s + usual_s if calls else 0.0
    return Expected(state.channel, operation, calls, state.remaining, state.rate, wait_s, takes_s)
