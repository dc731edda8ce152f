"""What a check is, what it may ask of the shop, and how all of them are run."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import httpx

from conformance.contract import Contract, Fault, contract
from conformance.listener import Listener

MOST_WAIT_S = 60
TRIES = 4
TIMEOUT_S = 30
SAMPLES = {
    "products": "/products?limit=20",
    "stock": "/stock?limit=50",
    "locations": "/locations",
    "orders": "/orders?limit=50",
    "payouts": "/payouts?limit=10",
    "transactions": "/transactions?limit=50",
}
PART_OF = {"locations": "stock", "transactions": "payouts"}
UNTOLD = "GET / does not say which parts there are"


class Failed(Exception):
    """The shop does not keep the contract; the message says what was seen."""


class Skipped(Exception):
    """The check cannot be made; the message says why."""


class Status(Enum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the contract. `clause` is where it stands, `did` what the check does, `mend` what to change in the shop.
    `parts` must all be offered; `write` changes something, `listens` wants to be told something."""

    id: str
    clause: str
    did: str
    mend: str
    run: Callable[[Shop], Awaitable[None]]
    parts: tuple[str, ...] = ()
    write: bool = False
    listens: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    check: Check
    status: Status
    found: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to ask the shop. `skus` and `orders` are what may be written to, beside what the shop itself names for a rehearsal;
    `hook` is the address by which the shop reaches `listener`, None where it cannot. Seconds are real ones."""

    url: str
    token: str
    write: bool = False
    skus: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    client_id: str | None = None
    client_secret: str | None = None
    listener: Listener | None = None
    hook: str | None = None
    patience_s: float = 20.0


CHECKS: list[Check] = []


def check(
    id: str,
    clause: str,
    did: str,
    mend: str,
    *,
    parts: tuple[str, ...] = (),
    write: bool = False,
    listens: bool = False,
) -> Callable[[Callable[[Shop], Awaitable[None]]], Callable[[Shop], Awaitable[None]]]:
    """Enter a function as a check; conformance.rest puts the files in order."""

    def entered(run: Callable[[Shop], Awaitable[None]]) -> Callable[[Shop], Awaitable[None]]:
        CHECKS.append(Check(id, clause, did, mend, run, parts, write, listens))
        return run

    return entered


class Shop:
    """A shop as a client of the contract sees it."""

    def __init__(self, client: httpx.AsyncClient, wanted: Wanted) -> None:
        self.client = client
        self.wanted = wanted
        self.contract: Contract = contract()
        self.told: dict[str, Any] = {}
        self.touched: set[str] = set()
        self.astray: set[str] = set()
        self._were: dict[tuple[str, str], int] = {}
        self._base = wanted.url.rstrip("/")
        self.keeps_keys = True
        self._samples: dict[str, httpx.Response] = {}
        self._faults: dict[str, list[Fault]] = {}
        self._shipment: dict[str, Any] | None = None

    @property
    def parts(self) -> frozenset[str]:
        told = self.told.get("parts")
        return frozenset(part for part in told if isinstance(part, str)) if isinstance(told, list) else frozenset()

    async def ask(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        """One request below the base address. Waits where it is told to (429, and 503 with Retry-After)."""
        headers = {
            "Authorization": f"Bearer {self.wanted.token if token is None else token}",
            **more.pop("headers", {}),
        }
        if token == "":
            del headers["Authorization"]
        for _ in range(TRIES):
            answer = await self.client.request(method, self._base + path, headers=headers, **more)
            told = answer.headers.get("Retry-After", "")
            if answer.status_code not in (429, 503) or not told.isdigit():
                return answer
            await asyncio.sleep(min(int(told), MOST_WAIT_S))
        return answer

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.ask("GET", path, **more)

    async def send(
        self, method: str, path: str, body: object, *, key: str | None = "", rev: str | None = None
    ) -> httpx.Response:
        """A write with a body. `key` "" makes a new Idempotency-Key, None sends none; `rev` becomes If-Match."""
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = f'"{key or new_key()}"'
        if rev is not None:
            headers["If-Match"] = f'"{rev}"'
        return await self.ask(method, path, content=json.dumps(body), headers=headers)

    async def json(self, path: str) -> dict[str, Any]:
        """The object that a GET answers with 200."""
        return body(await self.get(path), 200)

    async def sample(self, name: str) -> httpx.Response:
        """The first page of a list, asked once in a run."""
        if PART_OF.get(name, name) not in self.parts:
            raise Skipped(f"the shop has no {PART_OF.get(name, name)}")
        if name not in self._samples:
            self._samples[name] = await self.get(SAMPLES[name])
        return self._samples[name]

    async def sample_faults(self, name: str) -> list[Fault]:
        """What of the first page of a list does not keep the contract, found once in a run."""
        answer = await self.sample(name)
        if name not in self._faults:
            self._faults[name] = self.faults("GET", SAMPLES[name].partition("?")[0], answer)
        return self._faults[name]

    async def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a sample. Skipped where there are none."""
        found = listed(await self.sample(name))
        if not found:
            raise Skipped(f"the shop has no {name} to look at")
        return found

    async def walk(self, path: str, most: int = 1000) -> AsyncIterator[dict[str, Any]]:
        """Rows of a list over its pages, until so many have been met; a page without any counts as one. Failed where the pages
        lead in a circle."""
        cursor, met = None, 0
        seen: set[str] = set()
        while met < most:
            joint = "&" if "?" in path else "?"
            page = await self.get(path if cursor is None else f"{path}{joint}{httpx.QueryParams(cursor=cursor)}")
            rows = listed(page)
            met += max(1, len(rows))
            for row in rows:
                yield row
            cursor = body(page, 200).get("next_cursor")
            if cursor is None:
                return
            if cursor in seen:
                raise Failed(f"{path}: next_cursor leads in a circle")
            seen.add(cursor)

    def faults(self, method: str, path: str, answer: httpx.Response) -> list[Fault]:
        """What of an answer does not keep the contract; `path` without its query."""
        operation = self.contract.operation(method, path)
        assert operation is not None, (method, path)
        return self.contract.answer_faults(operation, answer)

    # what may be written to

    def skus(self) -> list[str]:
        """SKUs that may be written to: those that were named, else those that the shop offers."""
        return list(self.wanted.skus) or list(self.told.get("rehearsal", {}).get("skus", ()))

    async def order(self) -> dict[str, Any]:
        """An order that may be written to, as it stands, with something to ship."""
        named = list(self.wanted.orders) or list(self.told.get("rehearsal", {}).get("orders", ()))
        for id in named:
            found = await self.json(f"/orders/{id}")
            if any(left(line) > 0 for line in found["lines"]):
                self.touched.add(f"order {id}")
                return found
        raise Skipped("name an order that is to be shipped with --order")

    async def levels(self) -> list[dict[str, Any]]:
        """Levels of the SKUs that may be written to."""
        named = self.skus()
        if not named:
            raise Skipped("name SKUs with --sku")
        found = listed(await self.get(f"/stock?{by_sku(*named[:100])}"))
        if not found:
            raise Skipped("the SKUs that may be written to are kept nowhere")
        self.touched |= {f"stock of {level['sku']}" for level in found}
        for level in found:
            # The first look alone is before all writes of ours; a shop may show later ones late.
            self._were.setdefault((level["sku"], level["location_id"]), max(0, int(level["available"])))
        return found

    @asynccontextmanager
    async def level(self) -> AsyncIterator[dict[str, Any]]:
        """One level that may be written to, set to 5 units; afterwards it is what it was."""
        before = (await self.levels())[0]
        level = {"sku": before["sku"], "location_id": before["location_id"]}
        try:
            await self.set_stock(level, quantity=5)
            yield level
        finally:
            await self.put_stock_back(level)

    async def put_stock_back(self, level: dict[str, Any]) -> None:
        """Write what a level had before the run."""
        sku, place = level["sku"], level["location_id"]
        units = self._were[sku, place]
        await self.put_back(f"stock of {sku} at {place}, which was {units}", self.set_stock(level, quantity=units))

    async def put_back(self, what: str, write: Awaitable[dict[str, Any]]) -> None:
        """Undo what the kit has written. What the shop does not let be undone is kept for the report."""
        try:
            undone = (await write).get("status") == 200
        except (Failed, httpx.HTTPError):
            undone = False
        if undone:
            self.astray.discard(what)
        else:
            self.astray.add(what)

    async def set_stock(self, level: dict[str, Any], **item: int) -> dict[str, Any]:
        """Write one level; its result."""
        mode = "adjust" if "delta" in item else "set"
        answer = await self.send("PATCH", "/stock:bulk", {"mode": mode, "items": [{**level, **item}]})
        return result(answer)

    async def shipment(self) -> dict[str, Any]:
        """One parcel of one unit that the kit has told, made once in a run and taken back by `take_back`."""
        if self._shipment is None:
            order = await self.order()
            line = next(line for line in order["lines"] if left(line) > 0)
            sent = shipment_of(line)
            answer = await self.send("POST", f"/orders/{order['id']}/shipments", sent)
            if answer.status_code != 201:
                raise Failed(f"POST /orders/{order['id']}/shipments answered {told(answer)}")
            self._shipment = {"order": order, "line": line, "sent": sent, "answer": answer, "id": answer.json()["id"]}
        return self._shipment

    async def take_back(self) -> httpx.Response | None:
        """Take the parcel back, if there is one."""
        if self._shipment is None:
            return None
        path = f"/shipments/{self._shipment['id']}"
        rev = (await self.json(path))["rev"]
        answer = await self.send("DELETE", path, {}, key=None, rev=rev)
        if answer.is_success:
            self._shipment = None
        return answer

    async def leave(self) -> None:
        """Take back the parcel that no check has taken back."""
        if self._shipment is None:
            return
        what = f"parcel {self._shipment['id']} of order {self._shipment['order']['id']}"
        try:
            answer = await self.take_back()
        except (Failed, httpx.HTTPError, KeyError):
            answer = None
        if answer is None or not answer.is_success:
            self.astray.add(what)


def by_sku(*skus: str) -> httpx.QueryParams:
    """The query that names SKUs; a comma in one is not one between two."""
    return httpx.QueryParams(sku=",".join(sku.replace("%", "%25").replace(",", "%2C") for sku in skus))


def new_key() -> str:
    return secrets.token_hex(16)


def body(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The JSON object of an answer with one of these statuses. Failed for another."""
    if answer.status_code not in statuses:
        raise Failed(f"{answer.request.method} {answer.request.url.path} answered {told(answer)}")
    try:
        value = answer.json()
    except ValueError as problem:
        raise Failed(f"{answer.request.url.path} answered no JSON") from problem
    if not isinstance(value, dict):
        raise Failed(f"{answer.request.url.path} answered no JSON object")
    return value


def listed(answer: httpx.Response) -> list[dict[str, Any]]:
    """The rows of a list."""
    rows = body(answer, 200).get("data")
    if not isinstance(rows, list):
        raise Failed(f"{answer.request.url.path} has no list `data`")
    return rows


def result(answer: httpx.Response) -> dict[str, Any]:
    """The only result of a bulk of one item."""
    results = body(answer, 200, 207).get("results")
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
        raise Failed(f"{answer.request.url.path} has not one result for one item")
    found: dict[str, Any] = results[0]
    return found


def problem_of(value: object) -> str:
    """The last segment of a problem's type."""
    kind = value.get("type", "") if isinstance(value, dict) else ""
    return re.split(r"[/#]", str(kind))[-1]


def problem_name(answer: httpx.Response) -> str:
    try:
        return problem_of(answer.json())
    except ValueError:
        return ""


def told(answer: httpx.Response) -> str:
    """Status and problem of an answer, for people."""
    return f"{answer.status_code} {problem_name(answer)}".strip()


def refused(answer: httpx.Response, status: int, name: str) -> None:
    """Failed unless the answer is this problem."""
    if (answer.status_code, problem_name(answer)) != (status, name):
        raise Failed(f"expected {status} {name}, got {told(answer)}")


def left(line: dict[str, Any]) -> int:
    return int(line["quantity"]) - int(line["shipped"]) - int(line["cancelled"])


def shipment_of(line: dict[str, Any], quantity: int = 1) -> dict[str, Any]:
    return {
        "carrier": "DHL",
        "tracking_number": f"ACORN{secrets.token_hex(4).upper()}",
        "shipped_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "lines": [{"line_id": line["id"], "quantity": quantity}],
        "reference": f"check-{secrets.token_hex(4)}",
    }


def at(text: str) -> datetime:
    """A time, also one without its zone: that is another check's finding."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def asked(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Report:
    """What a run found. For people: `touched` is what was written to, `astray` what of it could not be put back."""

    url: str
    outcomes: list[Outcome] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)

    def ids(self, status: Status) -> list[str]:
        return [outcome.check.id for outcome in self.outcomes if outcome.status is status]

    @property
    def passed(self) -> bool:
        return not self.ids(Status.FAILED) and not self.astray


async def run(
    wanted: Wanted,
    client: httpx.AsyncClient | None = None,
    only: Sequence[str] = (),
    progress: Callable[[Check], None] = lambda _: None,
) -> Report:
    """Make all checks, or those whose id begins with one of `only`, one after the other.

    Raises httpx.HTTPError where the shop cannot be reached at all; later failures of the wire are what a check found.
    """
    async with client or httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as used:
        shop = Shop(used, wanted)
        try:
            shop.told = await shop.json("/")
        except Failed:
            shop.told = {}  # What is wrong with it start.shop says.
        report = Report(wanted.url)
        for each in CHECKS:
            if only and not each.id.startswith(tuple(only)):
                continue
            progress(each)
            report.outcomes.append(await _made(shop, each))
        await shop.leave()
        report.touched, report.astray = sorted(shop.touched), sorted(shop.astray)
        return report


async def _made(shop: Shop, each: Check) -> Outcome:
    missing = [part for part in each.parts if part not in shop.parts]
    if missing:
        return Outcome(each, Status.SKIPPED, f"the shop has no {missing[0]}" if shop.told else UNTOLD)
    if each.write and not shop.wanted.write:
        return Outcome(each, Status.SKIPPED, "writes; add --write")
    if each.listens and (shop.wanted.listener is None or shop.wanted.hook is None):
        return Outcome(each, Status.SKIPPED, "the shop must reach us; add --hook-url")
    try:
        await each.run(shop)
    except Failed as found:
        return Outcome(each, Status.FAILED, str(found))
    except Skipped as why:
        return Outcome(each, Status.SKIPPED, str(why))
    except httpx.HTTPError as problem:
        return Outcome(each, Status.FAILED, f"the request failed: {type(problem).__name__} {problem}".strip())
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as problem:
        # An answer in which something is not where the contract has it.
        return Outcome(
            each, Status.FAILED, f"the answer has not the contract's shape: {type(problem).__name__} {problem}"
        )
    return Outcome(each, Status.PASSED)
