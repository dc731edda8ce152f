"""Shared access tokens on a real Redis. A token is aged by shortening its key's life, never by waiting."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from adapters.tokens import LOCK_S, TokenStore
from domain.errors import Transient, Unauthorized

ROOT = Path(__file__).parents[2]
SECRET = "Atzr|the-refresh-token"


class Shop:
    """Sells tokens `t1`, `t2`, … with a life of `life_s`; counts, and waits at `gate`."""

    def __init__(self) -> None:
        self.sold = 0
        self.life_s = 3600.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.problem: Exception | None = None

    async def sell(self) -> tuple[str, float]:
        self.sold += 1
        await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return f"t{self.sold}", self.life_s


class Bench:
    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.store = TokenStore(redis)
        self.shop = Shop()
        self.name = f"amazon-{uuid4().hex}"
        self.key = f"acorn:token:{{{self.name}}}"

    async def token(self, store: TokenStore | None = None, secret: str = SECRET) -> str:
        return await (store or self.store).token(self.name, secret, self.shop.sell)

    async def leave_s(self, seconds: float) -> None:
        """Age the token until so many seconds of its life are left."""
        assert await self.redis.pexpire(self.key, round(seconds * 1000))


async def until_sold(shop: Shop, count: int) -> None:
    give_up_at = time.monotonic() + 30
    while shop.sold < count:
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.002)


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    redis = Redis.from_url(redis_url)
    bench = Bench(redis)
    yield bench
    await bench.store.settle()
    await redis.aclose()


async def test_a_token_is_bought_once_and_used_until_80_percent_of_its_life(bench: Bench) -> None:
    assert [await bench.token(), await bench.token()] == ["t1", "t1"]
    assert 3590 < await bench.redis.ttl(bench.key) <= 3600
    await bench.leave_s(725)
    assert await bench.token() == "t1"
    assert bench.shop.sold == 1


async def test_a_token_past_80_percent_is_still_used_while_it_is_renewed(bench: Bench) -> None:
    await bench.token()
    await bench.leave_s(715)
    bench.shop.gate.clear()
    assert [await bench.token(), await bench.token()] == ["t1", "t1"]
    await until_sold(bench.shop, 2)
    bench.shop.gate.set()
    await bench.store.settle()
    assert await bench.token() == "t2"
    assert bench.shop.sold == 2


async def test_a_token_in_its_last_seconds_is_waited_for(bench: Bench) -> None:
    await bench.token()
    await bench.leave_s(4)
    assert await bench.token() == "t2"


async def test_50_workers_of_several_processes_buy_one_token(bench: Bench, redis_url: str) -> None:
    clients = [Redis.from_url(redis_url) for _ in range(5)]
    stores = [TokenStore(client) for client in clients]
    bench.shop.gate.clear()
    workers = [asyncio.create_task(bench.token(store)) for store in stores for _ in range(10)]
    await until_sold(bench.shop, 1)
    bench.shop.gate.set()
    assert await asyncio.gather(*workers) == ["t1"] * 50
    assert bench.shop.sold == 1
    # The token dies on all of them at once: one renewal again.
    assert await asyncio.gather(*(store.forget(bench.name, "t1") for store in stores for _ in range(10))) == [None] * 50
    assert await asyncio.gather(*(bench.token(store) for store in stores for _ in range(10))) == ["t2"] * 50
    assert bench.shop.sold == 2
    for client in clients:
        await client.aclose()


BUYER = """
import asyncio, sys
from redis.asyncio import Redis
from adapters.tokens import TokenStore

url, name, sold = sys.argv[1:]

async def main():
    redis = Redis.from_url(url)
    store = TokenStore(redis)

    async def sell():
        number = await redis.incr(sold)
        await asyncio.sleep(0.05)
        return f"t{number}", 3600.0

    print("ready", flush=True)
    while True:
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            break
        tokens = await asyncio.gather(*(store.token(name, "secret", sell) for _ in range(10)))
        await store.settle()
        print(" ".join(sorted(set(tokens))), flush=True)
    await redis.aclose()

asyncio.run(main())
"""


async def test_several_processes_buy_one_token_and_renew_it_once(bench: Bench, redis_url: str) -> None:
    sold, pipe = f"{bench.key}:sold", asyncio.subprocess.PIPE
    arguments = [sys.executable, "-c", BUYER, redis_url, bench.name, sold]
    processes = [await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe, cwd=ROOT) for _ in range(3)]
    lines = [(one.stdin, one.stdout) for one in processes]

    async def all_ask() -> set[str]:
        for stdin, _ in lines:
            assert stdin is not None
            stdin.write(b"ask\n")
        return {(await stdout.readline()).decode().strip() for _, stdout in lines if stdout is not None}

    assert {(await stdout.readline()).decode().strip() for _, stdout in lines if stdout is not None} == {"ready"}
    assert await all_ask() == {"t1"}
    await bench.leave_s(700)
    # Past 80 % of its life: all go on with the old one, and one process buys the next.
    assert await all_ask() <= {"t1", "t2", "t1 t2"}
    assert await all_ask() == {"t2"}
    assert int(await bench.redis.get(sold) or 0) == 2
    for one in processes:
        assert one.stdin is not None
        one.stdin.close()
        assert await one.wait() == 0


async def test_a_caller_that_goes_away_does_not_waste_the_purchase(bench: Bench) -> None:
    bench.shop.gate.clear()
    caller = asyncio.create_task(bench.token())
    await until_sold(bench.shop, 1)
    caller.cancel()
    await asyncio.wait({caller})
    assert caller.cancelled()
    bench.shop.gate.set()
    await bench.store.settle()
    assert await bench.token() == "t1"
    assert bench.shop.sold == 1


async def test_forgetting_spares_a_newer_token(bench: Bench) -> None:
    await bench.token()
    await bench.store.forget(bench.name, "t0")
    assert await bench.token() == "t1"
    await bench.store.forget(bench.name, "t1")
    assert await bench.token() == "t2"


async def test_redis_holds_no_token_and_no_credential_in_clear(bench: Bench) -> None:
    async def sell() -> tuple[str, float]:
        return "Atza|a-long-access-token", 3600

    await bench.store.token(bench.name, SECRET, sell)
    kept = await bench.redis.dump(bench.key)
    assert b"sealed" in kept
    assert b"Atza" not in kept
    assert b"Atzr" not in kept
    assert await bench.redis.keys(f"{bench.key}*") == [bench.key.encode()]


async def test_another_credential_does_not_read_it(bench: Bench) -> None:
    await bench.token()
    assert await bench.token(secret="Atzr|another") == "t2"
    assert await bench.token(secret="Atzr|another") == "t2"


async def test_a_failed_purchase_is_told_and_tried_again_by_the_next(bench: Bench) -> None:
    bench.shop.problem = Unauthorized("revoked")
    with pytest.raises(Unauthorized):
        await bench.token()
    bench.shop.problem = None
    assert await bench.token() == "t2"


async def test_a_failed_renewal_does_not_trouble_who_has_a_valid_token(bench: Bench) -> None:
    await bench.token()
    await bench.leave_s(700)
    bench.shop.problem = Transient("down")
    assert await bench.token() == "t1"
    await bench.store.settle()
    assert bench.shop.sold == 2
    assert await bench.token() == "t1"


async def test_a_process_that_dies_while_buying_is_replaced(bench: Bench, redis_url: str) -> None:
    began = time.monotonic()
    assert await bench.redis.set(f"{bench.key}:lock", "a dead process", px=200)
    assert await bench.token() == "t1"
    assert 0.2 <= time.monotonic() - began < LOCK_S


async def test_a_purchase_that_outlasts_its_lock_does_not_overwrite_the_newer_one(bench: Bench) -> None:
    slow = TokenStore(bench.redis, lock_s=0.05)
    bench.shop.gate.clear()
    caller = asyncio.create_task(bench.token(slow))
    await until_sold(bench.shop, 1)
    other = Shop()
    other.sold = 10
    assert await bench.store.token(bench.name, SECRET, other.sell) == "t11"
    bench.shop.gate.set()
    assert await caller == "t1"  # valid all the same, and its buyer's own
    await slow.settle()
    assert await bench.token() == "t11"


async def test_without_redis_there_is_no_token_and_no_purchase() -> None:
    redis, shop = Redis.from_url("redis://127.0.0.1:1"), Shop()
    with pytest.raises(Transient, match="ACORN_REDIS_URL"):
        await TokenStore(redis).token("amazon-us", SECRET, shop.sell)
    assert shop.sold == 0
    await redis.aclose()
