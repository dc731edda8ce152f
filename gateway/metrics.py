"""What Prometheus is told. Labels are few and known beforehand: never a SKU, an order or a key."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from domain.budget import Bill

CONTENT_TYPE = CONTENT_TYPE_LATEST

# They double every counter to say when it was born.
disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped upstream

REQUESTS = Counter("acorn_http_requests_total", "HTTP requests answered.", ["path", "status"])
OPERATIONS = Counter("acorn_operations_total", "GraphQL operations executed.", ["kind", "outcome"])
OPERATION_SECONDS = Histogram(
    "acorn_operation_seconds",
    "Time to execute a query or mutation.",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
REJECTED = Counter("acorn_operations_rejected_total", "GraphQL operations refused before execution.", ["code"])
FALLBACKS = Counter(
    "acorn_operations_fallback_total",
    "Operations that do not compile, and single runs of others, left to graphql-core.",
    ["reason"],
)
LEFT = Counter("acorn_clients_left_total", "Requests whose client went away before the answer.")
SOCKETS = Gauge("acorn_websockets", "WebSocket connections open.")
SUBSCRIPTIONS = Gauge("acorn_subscriptions", "Subscriptions running, over any transport.")
CUT_OFF = Counter("acorn_subscribers_cut_off_total", "Subscribers that were too slow and must resume.", ["transport"])
EVENT_PLACE = Gauge("acorn_event_place", "The place in the event log that this process has fanned out.")
RINGS_LOST = Gauge(
    "acorn_rings_lost", "Rings for workers that did not get through; the sweep finds the work all the same."
)
AUTH_FAILURES = Counter("acorn_auth_failures_total", "Requests without a valid key.", ["reason"])
UPSTREAM_CALLS = Counter("acorn_upstream_calls_total", "Upstream calls made for requests.", ["channel", "operation"])
COALESCED = Counter(
    "acorn_upstream_coalesced_total", "Answers that a call of another request gave as well.", ["channel", "operation"]
)
WAITED = Counter("acorn_upstream_waited_seconds_total", "Time that requests waited for rate budgets.")


def count_bill(bill: Bill) -> None:
    """Add what one operation cost upstream."""
    WAITED.inc(bill.waited_s)
    for (channel, operation), line in bill.lines.items():
        UPSTREAM_CALLS.labels(channel, operation).inc(line.calls)
        COALESCED.labels(channel, operation).inc(line.coalesced)


def page() -> bytes:
    """All of it, in Prometheus' text form."""
    return generate_latest()
