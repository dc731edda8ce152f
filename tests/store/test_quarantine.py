"""What was rejected is kept, counted and found again."""

from __future__ import annotations

from domain.ids import ChannelId
from domain.product import Rejected
from store import quarantine
from store.session import Store

AMAZON = ChannelId("amazon-eu")


def rejected(key: str = "B01", reason: str = "no SKU", raw: str = "{}") -> Rejected:
    return Rejected(AMAZON, "listing", key, reason, raw)


async def test_kept_once_counted_and_told_latest_first(store: Store) -> None:
    async with store.begin() as tx:
        assert await quarantine.count(tx) == 0
        await quarantine.keep(tx, [rejected("B01"), rejected("B02"), rejected("B01", "duplicate SKU")])
        await quarantine.keep(tx, [])
    async with store.begin() as tx:
        await quarantine.keep(tx, [rejected("B01", raw='{"newer": 1}'), rejected("B01", raw='{"newest": 2}')])
        assert await quarantine.count(tx) == 3
        latest, *others = await quarantine.recent(tx, 10)
        assert (latest.rejected, latest.times) == (rejected("B01", raw='{"newest": 2}'), 2)
        assert latest.first_at < latest.last_at
        assert [one.times for one in others] == [1, 1]
        assert await quarantine.recent(tx, 1) == [latest]


async def test_anything_a_platform_sends_can_be_kept(store: Store) -> None:
    wild = rejected("k" * 5000 + "\x00", "\ud83d\x00 ✎" + "鉛" * 5000, "raw\x00 \udc00" * 3000)
    async with store.begin() as tx:
        await quarantine.keep(tx, [wild, wild])
        (kept,) = await quarantine.recent(tx, 10)
    assert kept.rejected.key == "k" * 200
    assert kept.rejected.reason == "? ✎" + "鉛" * 397
    assert kept.rejected.raw == "raw ?" * 3000
