"""Several processes hammer one Amazon operation, or one shop, with the rate budget in front, against the sandbox's strict plan.

    python -m benchmarks.budget --processes 4 --seconds 60
    python -m benchmarks.budget --platform shopify --processes 3 --seconds 30     # see benchmarks/points.py

The sandbox counts, we do not: calls and 429s come from its journal. The bound is what its token bucket can grant at all:
burst + rate x seconds. Exit code 0 only with no 429 and at least 95 % of the bound. Starts the sandbox itself, and a Redis
of its own unless ACORN_REDIS_URL names one.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import httpx
import typer
from redis.asyncio import Redis

from adapters.amazon.plans import PLANS
from adapters.budget import Budgets
from adapters.transport import Transport
from benchmarks import points
from benchmarks.stage import FirstDay, redis, sandbox
from domain.budget import Ask, Plan
from domain.errors import Throttled
from domain.ids import ChannelId

LEAST_SHARE = 0.95
US = "ATVPDKIKX0DER"
CREDENTIALS = {
    "grant_type": "refresh_token",
    "refresh_token": "Atzr|sandbox-na",
    "client_id": "amzn1.application-oa2-client.sandbox",
    "client_secret": "sandbox-secret",
}


@dataclass(frozen=True, slots=True)
class Work:
    """What every process does: `callers` call `url` as fast as the budget lets them, from `begin` to `end` (monotonic)."""

    redis_url: str
    channel: ChannelId
    plan: Plan
    url: str
    token: str
    callers: int
    begin: float
    end: float


class Platform(StrEnum):
    """Whose limit is used up."""

    AMAZON = "amazon"
    SHOPIFY = "shopify"


def main(
    processes: Annotated[int, typer.Option(min=1)] = 4,
    seconds: Annotated[float, typer.Option(min=1)] = 60,
    operation: str = "getInventorySummaries",
    callers: Annotated[int, typer.Option(min=1, help="Concurrent callers in each process.")] = 8,
    platform: Platform = Platform.AMAZON,
) -> None:
    """Use one operation's plan up, or a shop's points, and not one call more."""
    if platform is Platform.SHOPIFY:
        raise typer.Exit(_shopify(processes, seconds, callers))
    if operation not in REQUESTS:
        raise typer.BadParameter(f"one of {', '.join(REQUESTS)}", param_hint="--operation")
    with sandbox("amazon") as amazon, redis() as redis_url:
        plan, url, token = PLANS[operation], REQUESTS[operation](amazon), access_token(amazon)
        begin = time.monotonic() + 2 + processes  # every process needs a moment to start
        work = Work(redis_url, ChannelId(f"benchmark-{uuid4().hex}"), plan, url, token, callers, begin, begin + seconds)
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            late = max(pool.map(hammer, [work] * processes))
        calls = [call for call in journal(amazon) if call["operation"] == operation]
    refused = sum(call["status"] == 429 for call in calls)
    failed = sum(call["status"] not in (200, 429) for call in calls)
    served = len(calls) - refused - failed
    bound = plan.burst + plan.rate * seconds
    share = served / bound
    print(f"operation    {operation}: plan {plan.rate:g}/s, burst {plan.burst:g}")
    print(f"hammered by  {processes} processes with {callers} callers each, for {seconds:g} s")
    print(f"bound        {bound:g} calls = {plan.burst:g} + {plan.rate:g} x {seconds:g}")
    print(f"served       {served} calls = {share:.1%} of the bound (at least {LEAST_SHARE:.0%} wanted)")
    print(f"429s         {refused} (0 wanted)")
    if failed or late > 0:
        print(f"invalid run: {failed} calls failed otherwise; the slowest process was {max(late, 0):.1f} s late")
    raise typer.Exit(0 if refused == failed == 0 and late <= 0 and share >= LEAST_SHARE else 1)


def _shopify(processes: int, seconds: float, callers: int) -> int:
    spent = points.measure(processes, seconds, callers)
    print(f"bucket       {spent.rate:g} points a second")
    print(f"hammered by  {processes} processes with {callers} callers each, for {spent.seconds:.1f} s")
    print(
        f"spent        {spent.points:g} points = {spent.share:.1%} of the restore rate (at least {LEAST_SHARE:.0%} wanted)"
    )
    print(f"throttled    {spent.throttled} (0 wanted)")
    return 0 if spent.throttled == 0 and spent.share >= LEAST_SHARE else 1


def hammer(work: Work) -> float:
    """One process. How many seconds after `begin` it was ready; negative when it was in time."""
    return asyncio.run(_hammer(work))


async def _hammer(work: Work) -> float:
    redis, transport = Redis.from_url(work.redis_url), Transport()
    budgets = Budgets(redis, FirstDay())
    await redis.ping()
    late = time.monotonic() - work.begin
    await asyncio.sleep(-late)
    async with asyncio.TaskGroup() as group:
        for _ in range(work.callers):
            group.create_task(_call_until_the_end(work, budgets, transport))
    await budgets.settle()
    await transport.close()
    await redis.aclose()
    return late


async def _call_until_the_end(work: Work, budgets: Budgets, transport: Transport) -> None:
    while True:
        try:
            await budgets.spend(work.channel, work.plan, Ask(deadline=work.end))
        except Throttled:
            return
        answer = await transport.send("GET", work.url, write=False, headers={"x-amz-access-token": work.token})
        if answer.status == 429:
            await budgets.drain(work.channel, work.plan.operation)
        elif "x-amzn-ratelimit-limit" in answer.headers:
            rate = float(answer.headers["x-amzn-ratelimit-limit"])
            await budgets.adopt(work.channel, work.plan.operation, rate=rate)


def _summaries(amazon: str) -> str:
    query = {
        "details": "true",
        "granularityType": "Marketplace",
        "granularityId": US,
        "marketplaceIds": US,
        "sellerSkus": world(amazon)["skus"][0]["sku"],
    }
    return f"{amazon}/fba/inventory/v1/summaries?{urlencode(query)}"


def _listings(amazon: str) -> str:
    return f"{amazon}/listings/2021-08-01/items/A1SANDBOXNA?marketplaceIds={US}"


def _order(amazon: str) -> str:
    order = next(order for order in world(amazon)["orders"] if order["marketplace"] == "US")
    return f"{amazon}/orders/2026-01-01/orders/{quote(order['id'])}"


REQUESTS = {"getInventorySummaries": _summaries, "searchListingsItems": _listings, "getOrder": _order}


def world(amazon: str) -> dict[str, Any]:
    """What the sandbox holds."""
    return json.loads(httpx.get(f"{amazon}/_sandbox/world").content)  # type: ignore[no-any-return]  # JSON


def journal(amazon: str) -> list[dict[str, Any]]:
    """Every call the sandbox has had."""
    return json.loads(httpx.get(f"{amazon}/_sandbox/journal?since=0").content)["calls"]  # type: ignore[no-any-return]  # JSON


def access_token(amazon: str) -> str:
    """A token of the North American account."""
    return str(httpx.post(f"{amazon}/auth/o2/token", data=CREDENTIALS).raise_for_status().json()["access_token"])


if __name__ == "__main__":
    typer.run(main)
