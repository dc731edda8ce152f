"""Operations on levels, and jobs of many rows."""

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import orjson

from sandbox.shop import paging, views
from sandbox.shop.api import NDJSON, Answer, Call, Operation, Problem, choice, operation, rows, text, units
from sandbox.shop.bulk import Result, carried_out, kept_to_limit, one
from sandbox.shop.catalog_calls import set_price
from sandbox.shop.jobs import KINDS, MOST_LINES, Job
from sandbox.shop.state import KEY_LIFE, Shop
from sandbox.shop.stock import Level, house_of, location_id
from sandbox.world import WAREHOUSES, Warehouse

OPERATIONS: list[Operation] = []
MOST_UNITS = 1_000_000_000
_READ_BACK_LAG_S = 3600


@operation(OPERATIONS, "GET", "/locations", "stock", "stock:read")
def list_locations(call: Call) -> Answer:
    return Answer({"data": [views.location(house) for house in WAREHOUSES], "next_cursor": None})


@operation(OPERATIONS, "GET", "/stock", "stock", "stock:read")
def list_stock(call: Call) -> Answer:
    shop, place, named = call.shop, call.query("location_id"), paging.skus(call)
    if not named:
        return paging.page(
            call,
            shop.stock.walk,
            lambda level: views.level(shop, level),
            lambda level: place in (None, location_id(level.house)),
        )
    known = {sku for sku in named if shop.catalog.variant(sku)}
    levels = [
        shop.stock.shown(_level(shop, sku, house))
        for sku in named
        if sku in known
        for house in WAREHOUSES
        if shop.stock.stocks(sku, house) and place in (None, location_id(house))
    ]
    since = paging.instant(call, "updated_since") or shop.origin
    data = [views.level(shop, level) for level in levels if level.updated_at >= since]
    missing = [] if "stock.missing" in shop.broken else [sku for sku in named if sku not in known]
    return Answer({"data": data, "next_cursor": None, "missing": missing})


@operation(OPERATIONS, "PATCH", "/stock:bulk", "stock_write", "stock:write", keyed=True)
def patch_stock(call: Call) -> Answer:
    body = call.body
    mode, items = choice(body, "mode", "", ("set", "adjust")), rows(body, "items", "")
    kept_to_limit(call.shop, items)
    tasks = [partial(write_level, call.shop, mode, item, f"/items/{index}") for index, item in enumerate(items)]
    return carried_out(call.shop, tasks, items)


def _level(shop: Shop, sku: str, house: Warehouse) -> Level:
    try:
        return shop.stock.level(sku, house)
    except KeyError:
        # Of a SKU that was just made; it begins with nothing.
        return shop.stock.change(sku, house)


def write_level(shop: Shop, mode: str, item: Mapping[str, Any], at: str) -> Result:
    """One item of a bulk, or one line of a job."""
    sku, house = text(item, "sku", at), house_of(text(item, "location_id", at))
    if shop.catalog.variant(sku) is None:
        raise Problem("unknown-sku")
    if house is None or not shop.stock.stocks(sku, house):
        raise Problem("unknown-location", f"{sku} is not kept there")
    level = _level(shop, sku, house)
    target = units(item, "quantity", at) if mode == "set" else level.available + units(item, "delta", at)
    expected = None if item.get("expected") is None else units(item, "expected", at)
    if expected not in (None, level.available) and "bulk.expected" not in shop.broken:
        raise Problem("stale-quantity", f"There are {level.available}", current=level.available)
    if target > MOST_UNITS or (target < 0 and mode == "set"):
        raise Problem("validation", f"A quantity lies between 0 and {MOST_UNITS}", f"{at}/quantity")
    if target < 0 and "stock.negative" not in shop.broken:
        raise Problem("insufficient-stock", f"There are {level.available}", current=level.available)
    if target != level.available and not shop.stock.moods.swallows(sku):
        before = level.available
        if "stock.read-back" in shop.broken:
            shop.stock.moods.lag_s = _READ_BACK_LAG_S
        level = shop.stock.change(sku, house, available=target - before)
        detail = {"location": house.name, "name": "available", "from": before, "to": target}
        shop.core.journal.effect("patchStock", sku, detail)
        shop.tell("stock.updated", sku=sku, location_id=location_id(house))
    return Result(level.rev)


@operation(OPERATIONS, "POST", "/jobs", "jobs", "", keyed=True)
def create_job(call: Call) -> Answer:
    kind = call.query("kind") or ""
    if kind not in KINDS:
        raise Problem("bad-request", f"kind is one of {', '.join(KINDS)}")
    _may(call, kind)
    lines = [_parsed(line) for line in call.raw.splitlines() if line.strip()]
    if not lines:
        raise Problem("validation", "Send at least one line")
    if len(lines) > MOST_LINES:
        raise Problem("payload-too-large", f"At most {MOST_LINES} lines")
    now = call.shop.now()
    due = now + timedelta(seconds=call.shop.stock.moods.job_s)
    job = Job(f"job_{len(call.shop.jobs) + 1}", kind, lines, now, now, due)
    call.shop.jobs[job.id] = job
    return Answer(views.job(call.shop, job), 202, {"Location": call.url(f"/jobs/{job.id}")})


@operation(OPERATIONS, "GET", "/jobs/{id}", "jobs", "")
def get_job(call: Call) -> Answer:
    job = _known(call)
    if not job.ended:
        return Answer(views.job(call.shop, job), headers={"Retry-After": "1"})
    return Answer(views.job(call.shop, job), 303, {"Location": call.url(f"/jobs/{job.id}/result")})


@operation(OPERATIONS, "GET", "/jobs/{id}/result", "jobs", "")
def get_job_result(call: Call) -> Answer:
    job = _known(call)
    if not job.ended:
        raise Problem("conflict", "The job has not ended")
    if call.shop.now() - job.updated_at > KEY_LIFE:
        raise Problem("gone", "Results are kept for 24 hours")
    return Answer(b"".join(orjson.dumps(line) + b"\n" for line in job.results), media=NDJSON)


def run_due(shop: Shop) -> None:
    """Carry out the jobs whose time has come."""
    now = shop.now()
    first = 0 if "jobs.result" in shop.broken else 1
    for job in shop.jobs.values():
        if job.ended or job.due > now:
            continue
        for number, line in enumerate(job.lines, first):
            job.results.append({"line": number, **one(partial(_run, shop, job.kind, line), line or {})})
        job.ended, job.updated_at = True, now
        shop.tell("job.finished", id=job.id)


def _run(shop: Shop, kind: str, line: dict[str, Any] | None) -> Result:
    if line is None:
        raise Problem("bad-request", "The line is no JSON object")
    if kind == "prices":
        return set_price(shop, line, "")
    return write_level(shop, kind.removeprefix("stock_"), line, "")


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _may(call: Call, kind: str) -> None:
    part, scope = ("prices", "catalog:write") if kind == "prices" else ("stock_write", "stock:write")
    if part not in call.shop.parts:
        raise Problem("bad-request", f"This shop has no {part}")
    if scope not in call.grant.scopes and "token.scopes" not in call.shop.broken:
        raise Problem("forbidden-scope", f"The token lacks {scope}", scope=scope)


def _known(call: Call) -> Job:
    job = call.shop.jobs.get(call.id)
    if job is None:
        raise Problem("not-found", f"There is no job {call.id}")
    _may(call, job.kind)
    return job
