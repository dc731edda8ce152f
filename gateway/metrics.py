"""What Prometheus is told. Labels are few and known beforehand: never a SKU, an order or a key."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from domain.budget import Bill

CONTENT_TYPE = CONTENT_TYPE_LATEST
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Operations(Collector):
    """What was executed, and how long that took. Told by the loop's thread alone, at a tenth of the cost of metrics that threads
    share."""

    def __init__(self) -> None:
        self._outcomes: Counts[tuple[str, str]] = Counts()
        self._counts: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS_S) + 1))
        self._sums: defaultdict[str, float] = defaultdict(float)
        REGISTRY.register(self)

    def tell(self, kind: str, outcome: str, seconds: float) -> None:
        """One has ended."""
        self._counts[kind][bisect_left(BUCKETS_S, seconds)] += 1
        self._sums[kind] += seconds
        self._outcomes[kind, outcome] += 1

    def count(self, kind: str, outcome: str) -> int:
        """How many have ended so."""
        return self._outcomes[kind, outcome]

    def collect(self) -> Iterator[Metric]:
        """What Prometheus is told."""
        ended = CounterMetricFamily("acorn_operations", "GraphQL operations executed.", labels=["kind", "outcome"])
        for labels, count in self._outcomes.items():
            ended.add_metric(labels, count)
        yield ended
        seconds = HistogramMetricFamily(
            "acorn_operation_seconds", "Time to execute a query or mutation.", labels=["kind"]
        )
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        for kind, counts in self._counts.items():
            seconds.add_metric([kind], list(zip(bounds, accumulate(counts), strict=True)), self._sums[kind])
        yield seconds


# They double every counter to say when it was born.
disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped upstream

REQUESTS = Counter("acorn_http_requests_total", "HTTP requests answered.", ["path", "status"])
OPERATIONS = Operations()
ANSWERS_AGAIN = Counter("acorn_answers_again_total", "Operations answered with the kept bytes of an answer.")
OPERATIONS_SHARED = Counter(
    "acorn_operations_shared_total", "Operations answered by an equal one that was under way already."
)
REJECTED = Counter("acorn_operations_rejected_total", "GraphQL operations refused before execution.", ["code"])
FALLBACKS = Counter(
    "acorn_operations_fallback_total",
    "Operations that do not compile, and single runs of others, left to graphql-core.",
    ["reason"],
)
DOCUMENTS = Counter("acorn_documents_offered_total", "Documents that clients offered to be kept by id.", ["outcome"])
KEY_REFUSED = Counter("acorn_key_refused_total", "Operations that a key's budget could not pay for.", ["unit"])
KEY_LEASES = Counter(
    "acorn_key_leases_total", "Slices of keys' budgets that this process asked for; `alone` without Redis.", ["outcome"]
)
FORECASTS = Counter("acorn_forecast_calls_total", "Upstream calls that were predicted, and then made.", ["outcome"])
LEFT = Counter("acorn_clients_left_total", "Requests whose client went away before the answer.")
SOCKETS = Gauge("acorn_websockets", "WebSocket connections open.")
SUBSCRIPTIONS = Gauge("acorn_subscriptions", "Subscriptions running, over any transport.")
CUT_OFF = Counter("acorn_subscribers_cut_off_total", "Subscribers that were too slow and must resume.", ["transport"])
EVENT_PLACE = Gauge("acorn_event_place", "The place in the event log that this process has fanned out.")
RINGS_LOST = Gauge(
    "acorn_rings_lost", "Rings for workers that did not get through; the sweep finds the work all the same."
)
CALLS_UNLOGGED = Gauge(
    "acorn_api_calls_unlogged", "Calls to platforms that the log of calls could not hold; it needs the database."
)
CHANNELS_PAUSED = Gauge(
    "acorn_channel_paused", "Channels nobody works on, since their credentials are refused.", ["channel"]
)
ROLES_MISSING = Gauge(
    "acorn_channel_role_missing", "Operations that a channel refuses for want of a role.", ["channel", "operation"]
)
WEBHOOKS = Gauge("acorn_webhooks", "Webhooks that are told of events, and those that are paused.", ["state"])
WEBHOOK_DELIVERIES = Gauge("acorn_webhook_deliveries", "Deliveries that wait, and those given up.", ["state"])
WEBHOOK_LAG = Gauge("acorn_webhook_lag_seconds", "How long the delivery that waits longest has waited.")
PRICES_GUARDED = Gauge(
    "acorn_prices_guarded", "Prices that a guard refused or held in the last 24 hours.", ["guard", "action"]
)
PRICES_DIFFER = Gauge(
    "acorn_prices_differ", "Listings that have shown another price than the wanted one for longer than 15 minutes."
)
PRICE_CANARIES = Gauge("acorn_price_canaries", "Canaries of changes of prices, by what became of them.", ["state"])
RESIDUAL_LINES = Gauge("acorn_residual_lines", "Lines of settlements that are not tied out.", ["channel", "cause"])
RESIDUAL_AMOUNT = Gauge(
    "acorn_residual_amount", "What they come to, signed, in major units.", ["channel", "cause", "currency"]
)
RESIDUAL_OLDEST = Gauge(
    "acorn_residual_oldest_seconds", "How long the line of a channel has been open that is so for longest.", ["channel"]
)
SETTLEMENTS_MISSING = Gauge(
    "acorn_settlements_missing", "Settlements that must be there, since those around them do not join.", ["channel"]
)
SETTLEMENT_FILES_REFUSED = Gauge(
    "acorn_settlement_files_refused", "Files of settlements that nothing of is in the books.", ["channel"]
)
MONEY_WORDS_UNKNOWN = Gauge(
    "acorn_money_words_unknown", "Words for money that nobody has said the meaning of.", ["wording"]
)
ESTIMATES_LAG = Gauge(
    "acorn_estimates_lag_seconds", "How long the order has waited that waits longest to be reckoned anew."
)
PAYOUTS_OVERDUE = Gauge("acorn_payouts_overdue", "Payouts that no bank has shown in time.", ["channel"])
MONEY_OPEN = (
    PAYOUTS_OVERDUE,
    RESIDUAL_LINES,
    RESIDUAL_AMOUNT,
    RESIDUAL_OLDEST,
    SETTLEMENTS_MISSING,
    SETTLEMENT_FILES_REFUSED,
    MONEY_WORDS_UNKNOWN,
)
"""What somebody has to look at before books can be closed."""
AUTH_FAILURES = Counter("acorn_auth_failures_total", "Requests without a valid key.", ["reason"])
DELIVERIES = Counter("acorn_deliveries_total", "Deliveries of platforms kept, by where.", ["place"])
UPSTREAM_CALLS = Counter("acorn_upstream_calls_total", "Upstream calls made for requests.", ["channel", "operation"])
COALESCED = Counter(
    "acorn_upstream_coalesced_total", "Answers that a call of another request gave as well.", ["channel", "operation"]
)
WAITED = Counter("acorn_upstream_waited_seconds_total", "Time that requests waited for rate budgets.")


# A child is found by its labels in a tenth of the time that its metric takes.
requests = lru_cache(REQUESTS.labels)


def count_bill(bill: Bill) -> None:
    """Add what one operation cost upstream."""
    if not bill.lines:
        return
    WAITED.inc(bill.waited_s)
    for (channel, operation), line in bill.lines.items():
        UPSTREAM_CALLS.labels(channel, operation).inc(line.calls)
        COALESCED.labels(channel, operation).inc(line.coalesced)


def page() -> bytes:
    """All of it, in Prometheus' text form."""
    return generate_latest()
