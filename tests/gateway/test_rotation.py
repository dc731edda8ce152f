"""A new secret of the application as its people meet it: asked for from the command line, brought by the queue, then in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from domain.errors import Unauthorized
from domain.ids import ChannelId
from gateway.settings import Settings
from gateway.wiring import House, build_house
from gateway.worker import deps_of
from sandbox.amazon.visit import form
from sandbox.visit import advance, serving
from store.grant import Grants
from store.session import Store
from tests.adapters.amazon.sqs import Sqs
from tests.gateway.conftest import Acorn
from workers.hints import Listen

KEY = Fernet.generate_key().decode()
US, CLIENT, TOKEN = ChannelId("amazon-us"), "amzn1.application-oa2-client.sandbox", "Atzr|sandbox-na"
WEEK_S = 7 * 86_400
AMAZON = """
[[channels]]
id = "amazon-us"
platform = "amazon"
name = "Amazon US"
region = "na"
marketplaces = ["US"]
seller_id = "A1SANDBOXNA"
client_id = "amzn1.application-oa2-client.sandbox"
client_secret = "sandbox-secret"
refresh_token = "Atzr|sandbox-na"
endpoint = "{endpoint}"

[channels.notifications]
queue_url = "{queue.url}"
queue_arn = "{queue.arn}"
endpoint = "{queue.endpoint}"
access_key_id = "key"
secret_access_key = "secret"
"""


@pytest.fixture
def server() -> Iterator[str]:
    started = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture
async def queue(server: str) -> AsyncIterator[Sqs]:
    async with httpx.AsyncClient(base_url=server, trust_env=False, timeout=30) as client:
        yield await Sqs.make(client, server)


@pytest.fixture
async def amazon(queue: Sqs) -> AsyncIterator[httpx.AsyncClient]:
    """Amazon, with the queue registered for the application's secrets."""
    async with (
        serving("amazon", products=10, orders=0, marketplaces="US") as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client,
    ):
        for path, body in (
            ("rotation", {"enrolled": True, "queue": queue.arn}),
            ("notifications", {"sqs": queue.endpoint}),
            ("plans", {"rotateApplicationClientSecret": {"rate": 1000, "burst": 1000}}),
        ):
            (await client.post(f"/_sandbox/{path}", json=body)).raise_for_status()
        yield client


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[House]:
    house = await build_house(settings.model_copy(update={"keys": (SecretStr(KEY),)}))
    try:
        yield house
    finally:
        await house.close()


async def emptied(house: House) -> None:
    """What a worker does with the next messages of the queue."""
    [source] = house.notices.sources
    async with source.open() as mailbox, asyncio.timeout(30):
        while not await Listen(deps_of(house), source, lambda: None).once(mailbox):
            pass


async def taken(amazon: httpx.AsyncClient, secret: str) -> bool:
    """Whether Amazon takes this secret now."""
    return (await amazon.post("/auth/o2/token", data=form(TOKEN, client_secret=secret))).status_code == 200


async def test_a_new_secret_is_asked_for_comes_by_the_queue_and_the_old_one_lives_until_it_expires(
    acorn: Acorn,
    settings: Settings,
    store: Store,
    queue: Sqs,
    amazon: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("ACORN_KEYS", KEY)
    text = AMAZON.format(endpoint=str(amazon.base_url).rstrip("/"), queue=queue)
    for path in (settings.config, Path("acorn.toml")):
        path.write_text(text, encoding="utf-8")

    async def rotated() -> str:
        result = await asyncio.to_thread(acorn, "channels", "rotate-secret", "amazon", "amazon-us")
        assert result.exit_code == 0, result.output
        secret = str((await amazon.get("/_sandbox/rotation")).json()["rotations"][-1]["newClientSecret"])
        assert secret not in result.output
        return secret

    async with worker(settings) as house:
        account, grants = house.consents[US], Grants(store, house.ring, believed_s=0.0)
        first = await rotated()
        # It is on its way, and the one of acorn.toml goes on.
        await account.prove(TOKEN)
        await emptied(house)
        assert (await grants.kept(US, CLIENT)).secrets == (first,)
        assert await taken(amazon, "sandbox-secret")
        await advance(amazon, WEEK_S)
        assert not await taken(amazon, "sandbox-secret")
        await account.prove(TOKEN)

        second = await rotated()
        await account.prove(TOKEN)
        await emptied(house)
        assert (await grants.kept(US, CLIENT)).secrets == (second, first)
        await advance(amazon, WEEK_S)
        assert [await taken(amazon, one) for one in (second, first)] == [True, False]
        await account.prove(TOKEN)
        assert await queue.size() == 0

        # The twin: with a secret that nobody told us, nothing is bought.
        await amazon.post("/_sandbox/accounts", json={"clientSecret": "of somebody else"})
        with pytest.raises(Unauthorized):
            await account.prove(TOKEN)
    assert not any(secret in caplog.text for secret in (first, second))
