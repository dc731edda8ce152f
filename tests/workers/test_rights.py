"""What an account lets us do is looked at when a worker starts, and what is refused as a whole pauses the channel."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from adapters.port import Checked
from domain.budget import Ask
from domain.errors import HouseError, MissingRole, Throttled, Transient, Unauthorized
from domain.ids import ChannelId
from store import channel
from store.session import Store
from tests.workers.fake_port import FakePort, make_port
from tests.workers.house import SHORT, make_deps, until, working
from workers.rights import AGAIN_S, EVERY_S, Rights, scoped

SHOP = ChannelId("shop")


# A pause that ends during the test would not be seen.
LONG = replace(SHORT, pause_s=600.0)


class Scoped(FakePort):
    """It says what it needs, and answers its checks as told."""

    needs = {"read_orders": "orders are not read"}  # noqa: RUF012  as a port has it
    problem: HouseError | None
    checks: int

    async def check(self, ask: Ask) -> Checked:
        self.checks += 1
        if self.problem is not None:
            raise self.problem
        return Checked("It answers.")


def make_scoped(problem: HouseError | None = None) -> Scoped:
    made = make_port("shop")
    port = Scoped(made.channel, compares=made.compares)
    port.problem, port.checks = problem, 0
    return port


@pytest.mark.parametrize(
    ("problem", "again_s", "paused"),
    [
        (None, EVERY_S, False),
        (MissingRole("no read_orders"), 60.0, False),
        (Unauthorized("uninstalled"), AGAIN_S, True),
        (Transient("away"), AGAIN_S, False),
        (Throttled("full", retry_after_s=1.0), AGAIN_S, False),
    ],
)
async def test_what_a_look_finds(
    store: Store, redis: Redis, problem: HouseError | None, again_s: float, paused: bool
) -> None:
    port = make_scoped(problem)
    assert await Rights(make_deps(store, redis, [port], timing=LONG), lambda: None).look(port) == again_s
    async with store.begin() as tx:
        assert (SHOP in await channel.states(tx)) is paused


async def test_a_worker_looks_when_it_starts_and_asks_nobody_else(store: Store, redis: Redis) -> None:
    port, other = make_scoped(Unauthorized("uninstalled")), make_port("other")
    deps = make_deps(store, redis, [port, other], timing=LONG)
    assert scoped(deps.ports) == [port]

    async def looked() -> bool:
        async with store.begin() as tx:
            return set(await channel.states(tx)) == {SHOP}

    async with working(deps):
        await until(looked)
    assert port.checks == 1
