"""What is wrong with a channel is told in its words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from domain.hint import WELL, Hint, HintKind
from domain.ids import ChannelId
from resolvers import channel
from store import hint
from store.session import Store
from tests.resolvers.test_stock import House

SHOP = ChannelId("shop")
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_an_account_at_risk_is_an_ailment_until_it_is_well_again(store: Store, redis: Redis) -> None:
    shelf = House(store, redis).shelf

    async def told(id: str, subject: str, at: datetime) -> list[str]:
        async with store.begin() as tx:
            await hint.keep(tx, [Hint(SHOP, id, "ACCOUNT_STATUS_CHANGED", HintKind.ACCOUNT, subject, at)])
        return await channel.ailments(shelf, SHOP)

    assert await channel.ailments(shelf, SHOP) == []
    risk = ["account: AT_RISK since 2026-03-01, says the channel"]
    assert await told("n-1", "AT_RISK", AT) == risk
    # Told late: it was so before.
    assert await told("n-2", WELL, AT - timedelta(days=1)) == risk
    assert await told("n-3", WELL, AT + timedelta(days=1)) == []
