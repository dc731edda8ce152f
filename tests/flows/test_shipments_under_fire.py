"""Dozens of shipments, a quarter of the answers lost, workers killed, Redis flushed: each order has exactly one effect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from benchmarks.rehearsal import doubtful, stage
from benchmarks.shipments import rehearse
from domain.ids import ChannelId, ChannelSku, LineId, OrderId
from domain.operation import OperationStatus
from domain.order import Order, OrderLine, OrderStatus
from domain.product import FulfilledBy
from workers.deps import Timing

QUICK = Timing(lease_s=4.0, budget_wait_s=2.0, settle_s=0.5, finish_s=5.0)


async def test_each_order_is_shipped_once(new_database: Callable[[], str], redis_url: str, tmp_path: Path) -> None:
    shipments = 40
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    async with stage(new_database(), redis_url, tmp_path, orders=120, speed=40.0) as on:
        report = await rehearse(
            on, shipments=shipments, faults=0.25, kill_every_s=1.5, pace=10.0, seed=7, timing=QUICK, patience_s=900.0
        )
    assert (report.wrong, report.failed) == ({}, {})
    assert report.statuses == {OperationStatus.SUCCEEDED: shipments}
    assert (report.lost, report.duplicated, report.flushes) == (0, 0, 1)
    # A calm run would prove nothing.
    assert report.injected >= 3
    assert report.kills >= 2


def _order(**lines: int) -> Order:
    """An order with these open units by line."""
    now = datetime.now(UTC)
    return Order(
        OrderId("o"),
        ChannelId("shop"),
        None,
        "O-1",
        OrderStatus.UNSHIPPED,
        "UNFULFILLED",
        FulfilledBy.MERCHANT,
        now,
        now,
        [OrderLine(LineId(name), name, ChannelSku("S"), units, 0) for name, units in lines.items()],
    )


def _amazon(edit: bool = False, **units: int) -> dict[str, Any]:
    return {"edit": edit, "items": [{"orderItemId": line, "quantity": count} for line, count in units.items()]}


def _shop(task: str, **units: int) -> dict[str, Any]:
    lines = [{"id": f"task-{line}", "lineItemId": line, "quantity": count} for line, count in units.items()]
    return {"fulfillmentOrderId": task, "lines": lines}


@pytest.mark.parametrize(
    ("effects", "wrong"),
    [
        ([_amazon(a=2, b=1)], None),
        ([_shop("berlin", a=2), _shop("reno", b=1)], None),
        ([], "lost"),
        ([_amazon(a=2, b=1), _amazon(True, a=2, b=1)], "sent twice"),
        ([_amazon(a=2)], "shipped {'a': 2} in 1 parcels instead of {'a': 2, 'b': 1}"),
        ([_amazon(a=2, b=1), _amazon(a=2, b=1)], "shipped {'a': 4, 'b': 2} in 2 parcels instead of {'a': 2, 'b': 1}"),
        (
            [_shop("berlin", a=1), _shop("berlin", a=1, b=1)],
            "shipped {'a': 2, 'b': 1} in 2 parcels instead of {'a': 2, 'b': 1}",
        ),
    ],
)
def test_the_judge_finds_what_is_lost_and_what_is_doubled(effects: list[dict[str, Any]], wrong: str | None) -> None:
    assert doubtful(_order(a=2, b=1), effects) == wrong
