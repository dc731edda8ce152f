"""The queue of notifications, against a local SQS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest
from moto.server import ThreadedMotoServer
from redis.asyncio import Redis

from adapters.amazon.hints import Account
from adapters.amazon.notifications import Desk, Queue, wanted
from adapters.amazon.platform import AmazonPort
from adapters.amazon.queue import QueueConfig, QueueSource
from adapters.notices import Mailbox
from domain.budget import Ask
from domain.errors import Transient, Unauthorized
from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from tests.adapters.amazon.bench import Sandbox, make_config, make_desk
from tests.adapters.amazon.sqs import Sqs

ACCOUNT = Account(ChannelId("amazon-us"), "A1EXAMPLEUS", "client", ("US",))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    started = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture
async def sqs(server: str) -> AsyncIterator[Sqs]:
    async with httpx.AsyncClient(base_url=server, trust_env=False, timeout=30) as client:
        yield await Sqs.make(client, server)


def _source(sqs: Sqs, url: str | None = None, endpoint: str | None = None) -> QueueSource:
    config = QueueConfig(url or sqs.url, "us-east-1", endpoint or sqs.endpoint, "key", "secret")
    return QueueSource(config, (ACCOUNT,), wait_s=1)


async def _all(mailbox: Mailbox) -> list[bytes]:
    found: list[bytes] = []
    while messages := await mailbox.receive():
        found += [one.body for one in messages]
        await mailbox.delete(messages)
    return found


async def test_what_is_deleted_does_not_come_again_and_the_rest_does(sqs: Sqs) -> None:
    await sqs.send("one", "two")
    async with _source(sqs).open() as mailbox:
        first = await mailbox.receive()
        assert sorted(one.body for one in first) == [b"one", b"two"]
        # Hidden while we have them, as from any other worker.
        assert await mailbox.receive() == []
        await mailbox.delete([one for one in first if one.body == b"one"])
    await sqs.show_again(one.receipt for one in first if one.body == b"two")
    async with _source(sqs).open() as mailbox:
        assert await _all(mailbox) == [b"two"]
    assert await sqs.size() == 0


async def test_many_come_ten_at_a_time(sqs: Sqs) -> None:
    await sqs.send(*map(str, range(25)))
    async with _source(sqs).open() as mailbox:
        assert len(await mailbox.receive()) <= 10
    # A body may be anything; none of them is lost.
    assert await sqs.size() == 25


async def test_a_queue_that_is_not_there_is_said_to_be_refused(sqs: Sqs) -> None:
    async with _source(sqs, url=f"{sqs.url}-else").open() as mailbox:
        with pytest.raises(Unauthorized, match="Check its address"):
            await mailbox.receive()


async def test_an_address_where_nobody_answers_is_tried_again(sqs: Sqs) -> None:
    async with _source(sqs, endpoint="http://127.0.0.1:9").open() as mailbox:
        with pytest.raises(Transient):
            await mailbox.receive()


async def test_what_changes_at_amazon_comes_through_the_queue(sqs: Sqs, redis: Redis) -> None:
    sandbox = Sandbox("--products", "20", "--orders", "0", "--marketplaces", "US")
    desk = make_desk(redis, make_config("na", sandbox.url))
    try:
        assert isinstance(desk.port, AmazonPort)
        await sandbox.post("notifications", {"sqs": sqs.endpoint, "copies": 2})
        kind = "FBA_INVENTORY_AVAILABILITY_CHANGES"
        await Desk(desk.port.client, wanted((kind,), Queue(sqs.arn), None)).ensure(Ask(), apply=True)
        sku = next(one["sku"] for one in (await sandbox.get("world"))["skus"] if one["fulfilledBy"] == "AMAZON")
        await sandbox.post("state", {"stock": [{"sku": sku, "pool": "US", "quantity": 4321}]})
        account = Account(ChannelId("amazon-us"), "A1SANDBOXNA", "client", ("US",))
        source = replace(_source(sqs), accounts=(account,))
        found: list[bytes] = []
        async with source.open() as mailbox, asyncio.timeout(30):
            while len(found) < 2:
                found += await _all(mailbox)
        first, second = map(source.understood, found)
        assert first == second
        assert isinstance(first, Hint)
        assert (first.kind, first.subject) == (HintKind.STOCK, sku)
        assert await sqs.size() == 0
    finally:
        await desk.close()
        await sandbox.close()


def test_the_keys_of_a_queue_are_shown_to_nobody(sqs: Sqs) -> None:
    assert "secret" not in repr(QueueConfig(sqs.url, "us-east-1", None, "key", "secret"))
