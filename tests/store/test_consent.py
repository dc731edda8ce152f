"""Consents under way: found by a hash, once, and in time."""

from __future__ import annotations

import asyncio

from domain.ids import ChannelId
from store import consent
from store.consent import Asked, Progress
from store.session import Store

EU = ChannelId("amazon-eu")


async def start(store: Store, id: str = "c1", for_s: float = 600, **hashes: str) -> None:
    async with store.begin() as tx:
        await consent.start(tx, id, EU, for_s, **hashes)


async def take(store: Store, state_hash: str = "s") -> Asked | None:
    async with store.begin() as tx:
        return await consent.take(tx, state_hash)


async def progress(store: Store, id: str = "c1") -> Progress | None:
    async with store.begin() as tx:
        return await consent.progress(tx, id)


async def opened(store: Store, link_hash: str, channel: ChannelId = EU) -> bool:
    async with store.begin() as tx:
        return await consent.open_link(tx, channel, link_hash, state_hash="s", browser_hash="b")


async def test_a_state_is_taken_once_whoever_is_fast(store: Store) -> None:
    await start(store, state_hash="s", browser_hash="b")
    assert await take(store, "other") is None
    taken = await asyncio.gather(*(take(store) for _ in range(10)))
    assert [one for one in taken if one] == [Asked("c1", EU, "b")]


async def test_a_state_is_good_for_its_time_only(store: Store) -> None:
    await start(store, for_s=-1, state_hash="s")
    assert await take(store) is None
    assert await progress(store) == Progress(True, None, None, True)


async def test_a_link_is_opened_once_and_for_its_channel(store: Store) -> None:
    await start(store, link_hash="l")
    assert await progress(store) == Progress(False, None, None, False)
    assert not await opened(store, "l", ChannelId("amazon-us"))
    assert not await opened(store, "other")
    assert await opened(store, "l")
    assert not await opened(store, "l")
    assert await take(store) == Asked("c1", EU, "b")


async def test_whoever_waits_is_told_the_end(store: Store) -> None:
    await start(store, state_hash="s")
    assert await progress(store, "c2") is None
    async with store.begin() as tx:
        await consent.end(tx, "c1", granted=False, words="Another account.")
    assert await progress(store) == Progress(True, False, "Another account.", False)
    assert await take(store) is None
