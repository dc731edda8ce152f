"""What can be subscribed to and by whom, when a delivery is tried again, and how an event looks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.event import Event, EventKind
from domain.ids import ChannelId
from domain.operation import READERS, Kind
from domain.webhook import (
    TOPICS,
    TRIES_S,
    Delivery,
    DeliveryState,
    NewWebhook,
    Verdict,
    Webhook,
    WebhookFormat,
    WebhookState,
    envelope,
    flat,
    next_try_s,
    verdict,
)

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
EVERYTHING = frozenset({"admin"})


def make(events: tuple[str, ...] = tuple(TOPICS), **more: Any) -> Webhook:
    values: dict[str, Any] = {"channels": (), "skus": (), "format": WebhookFormat.CLOUDEVENTS, "hook": False}
    values |= {"made_by": "k", "made_at": AT, "state": WebhookState.ACTIVE, "reason": None, "seq": 0, "failures": 0}
    values |= {"last_success_at": None, "last_error": None, "previous_until": None}
    return Webhook(id="w", url="https://a.example", events=events, **(values | more))


def told(what: EventKind, subject: str = "x", /, **data: Any) -> Event:
    return Event(7, what, subject, data, AT)


def test_every_kind_of_operation_says_who_may_read_it() -> None:
    assert set(READERS) == set(Kind)


@pytest.mark.parametrize("name", sorted(TOPICS))
def test_an_event_is_subscribed_to_by_who_may_read_it_alone(name: str) -> None:
    topic = TOPICS[name]
    for scope in sorted(topic.any_of):
        NewWebhook("https://a.example", (name,)).check({scope})
    with pytest.raises(Invalid, match="may not read"):
        NewWebhook("https://a.example", (name,)).check({"catalog:read"})


def test_an_unknown_event_or_none_and_a_filter_that_is_none_are_refused() -> None:
    for new in (
        NewWebhook("u", ()),
        NewWebhook("u", ("order.changed.v9",)),
        NewWebhook("u", ("stock.changed.v1",), skus=("",)),
        NewWebhook("u", ("stock.changed.v1",), skus=("A B",)),
        NewWebhook("u", ("stock.changed.v1",), skus=("A",) * 51),
    ):
        with pytest.raises(Invalid):
            new.check(EVERYTHING)
    NewWebhook("u", ("stock.changed.v1",), skus=("TEE-*",)).check(EVERYTHING)


def test_an_operation_is_told_to_who_may_see_its_kind() -> None:
    one = make()
    change = told(EventKind.OPERATION_CHANGED, kind="ADJUST_STOCK")
    assert one.wants(change, {"stock:write"}) is TOPICS["operation.changed.v1"]
    assert one.wants(change, {"shipments:write"}) is None
    assert one.wants(told(EventKind.STOCK_RULES_CHANGED), EVERYTHING) is None


def test_channels_narrow_what_is_of_a_channel_and_nothing_else() -> None:
    one = make(channels=(ChannelId("shop"),))
    assert one.wants(told(EventKind.ORDER_CHANGED, channel="shop"), EVERYTHING) is not None
    assert one.wants(told(EventKind.ORDER_CHANGED, channel="amazon"), EVERYTHING) is None
    assert one.wants(told(EventKind.CHANNEL_PAUSED, "amazon"), EVERYTHING) is None
    assert one.wants(told(EventKind.STOCK_CHANGED, "A"), EVERYTHING) is not None


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        (200, Verdict.TAKEN),
        (204, Verdict.TAKEN),
        (301, Verdict.REFUSED),
        (307, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (410, Verdict.GONE),
        (429, Verdict.SLOW),
        (502, Verdict.SLOW),
        (504, Verdict.SLOW),
        (None, Verdict.SLOW),
    ],
)
def test_what_an_answer_means(status: int | None, meant: Verdict) -> None:
    assert verdict(status) is meant


@given(st.floats(0, 1))
def test_a_delivery_that_always_fails_is_tried_ten_times_within_little_more_than_a_day(share: float) -> None:
    age_s, tries = 0.0, 1
    while (wait_s := next_try_s(age_s, share)) is not None:
        assert wait_s > 0.9
        age_s += wait_s
        tries += 1
    assert tries == len(TRIES_S) + 1
    assert 86_400 <= age_s <= 86_400 * 1.1


@given(st.floats(0, 200_000), st.floats(0, 1))
def test_the_next_try_is_one_of_the_schedule_up_to_a_tenth_later(age_s: float, share: float) -> None:
    wait_s = next_try_s(age_s, share)
    if wait_s is None:
        assert age_s >= TRIES_S[-1] - 1
    else:
        gap_s = wait_s / (1 + share / 10)
        assert any(abs(age_s + gap_s - at) < 0.01 for at in TRIES_S)


def delivery(**more: Any) -> Delivery:
    values: dict[str, Any] = {"type": "order.changed.v1", "object": "Order:1", "place": 7, "at": AT, "attempts": 1}
    values |= {"state": DeliveryState.PENDING, "replayed": False, "due_at": AT}
    return Delivery("w", "evt_7", **(values | more))


def test_the_envelope_has_every_attribute_of_a_cloudevent() -> None:
    assert envelope(delivery(), "/acorn", {"id": "Order:1"}) == {
        "specversion": "1.0",
        "id": "evt_7",
        "source": "/acorn",
        "type": "order.changed.v1",
        "subject": "Order:1",
        "time": "2026-11-23T08:00:00Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:acorn:event:order.changed.v1",
        "partitionkey": "Order:1",
        "sequence": "00000000000000000007",
        "data": {"id": "Order:1"},
    }
    assert envelope(delivery(replayed=True), "/acorn", {})["replayed"] is True


MONEY = {"amount": "9.90", "currency": "EUR"}
LINE = {
    "id": "L",
    "sku": "A",
    "channelSku": "a",
    "quantity": 1,
    "quantityShipped": 0,
    "unitPrice": MONEY,
    "total": MONEY,
}
PARCEL = {"carrier": "DHL", "trackingNumber": "1", "shippedAt": "t", "channelConfirmedAt": None}


def order(lines: int, shipments: int) -> dict[str, Any]:
    return {"id": "Order:1", "total": MONEY, "lines": [LINE] * lines, "shipments": [PARCEL] * shipments}


def test_the_flat_form_has_no_object_in_it() -> None:
    found = flat(delivery(), order(2, 1))
    assert found["id"] == "evt_7"
    assert (found["order_id"], found["order_total_amount"]) == ("Order:1", "9.90")
    assert found["order_lines_sku"] == ["A", "A"]
    assert found["order_shipments_carrier"] == ["DHL"]
    values = [part for value in found.values() for part in (value if isinstance(value, list) else [value])]
    assert not any(isinstance(value, dict | list) for value in values)


@given(st.integers(0, 3), st.integers(0, 3))
def test_the_flat_form_has_the_same_names_however_many_lines_there_are(lines: int, shipments: int) -> None:
    assert set(flat(delivery(), order(lines, shipments))) == set(flat(delivery(), order(1, 1)))
