"""What becomes of reports, whatever crashes and whatever the platform answers: each is asked for once, and its file is kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import func, update

from adapters.port import BeforeSend, Receipt
from domain.budget import Ask
from domain.errors import Invalid, NotFound, OutcomeUnknown, Refused, Throttled, Transient
from domain.ids import ChannelId, OperationId, node_key
from domain.operation import Capability, Kind, OperationStatus
from domain.report import ReportFile, ReportWanted
from gateway.linked import Linked
from resolvers import report
from resolvers.context import Caller
from resolvers.report import Document, ReportRequest
from resolvers.shelf import Shelf
from store import operation
from store import report as files
from store.keyring import Keyring
from store.session import Store
from store.tables import operation_item
from tests.resolvers.test_shipment import CountingBell
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.workers.fake_port import FakePort, make_port
from tests.workers.house import SHORT, item_of, make_deps, make_lanes, statuses
from workers.deps import Deps
from workers.lanes import Lane
from workers.reports import PATIENCE
from workers.upkeep import REPORTS_REMEMBERED

SHOP = ChannelId("shop")
OPS = Caller("ops", frozenset({"channels:write"}))
LANE = Lane(SHOP, Capability.REPORTS)
STOCK, OTHER = "STOCK", "OTHER"
FILE = ReportFile("sku\tqty\nCAFÉ\t1\n".encode("cp1252") * 50, "text/plain; charset=Cp1252")


@dataclass(slots=True)
class ReportsPort(FakePort):
    """A channel that makes reports. What was truly asked for is `made`, by id; `found` meets one look at a report each, and
    `asking` one asking each, behind its effect where that is unknown."""

    report_types: Mapping[str, str] = field(default_factory=lambda: {STOCK: "what lies where", OTHER: "anything else"})
    report_pauses_s: Sequence[float] = (0.0,)
    made: dict[str, tuple[datetime, ReportWanted]] = field(default_factory=dict)
    asking: deque[Exception] = field(default_factory=deque)
    found: deque[ReportFile | Exception | None] = field(default_factory=deque)
    looked_at: list[str] = field(default_factory=list)

    async def ask_report(self, wanted: ReportWanted, ask: Ask, before_send: BeforeSend) -> Receipt:
        problem = self.asking.popleft() if self.asking else None
        if isinstance(problem, Throttled):
            raise problem
        await before_send()
        if problem is None or isinstance(problem, OutcomeUnknown):
            self.made[id := f"R{len(self.made) + 1}"] = (datetime.now(UTC), wanted)
        if problem is not None:
            raise problem
        return Receipt(None, id)

    async def report_asked(
        self, wanted: ReportWanted, asked_at: datetime, but: Collection[str], ask: Ask
    ) -> str | None:
        since = asked_at - timedelta(seconds=1)
        alike = (id for id, (at, one) in self.made.items() if one == wanted and at >= since and id not in but)
        return next(alike, None)

    async def report_file(self, report_id: str, ask: Ask) -> ReportFile | None:
        self.looked_at.append(report_id)
        told = self.found.popleft() if self.found else FILE
        if isinstance(told, Exception):
            raise told
        return told


@pytest.fixture
def port() -> ReportsPort:
    return ReportsPort(make_port().channel)


@pytest.fixture
def deps(store: Store, redis: Redis, port: ReportsPort) -> Deps:
    return make_deps(store, redis, [port], timing=replace(SHORT, settle_s=0.0))


@pytest.fixture
def shelf(store: Store, redis: Redis, port: ReportsPort) -> Shelf:
    plain = replace(make_port().channel, id=ChannelId("plain"), name="Plain")
    return replace(
        House(store, redis).shelf,
        channels={SHOP: port.channel, plain.id: plain},
        ports={SHOP: port, plain.id: FakePort(plain)},
        bell=CountingBell(),
        ring=Keyring([Fernet.generate_key().decode()]),
    )


async def asked(shelf: Shelf, report_type: str = STOCK, key: str | None = None, **more: Any) -> OperationId:
    wanted = ReportRequest(SHOP, report_type, **more)
    kept = await report.request(shelf, "ops", "r-1", wanted, idempotency_key=key)
    assert kept.operation is not None, kept.problems
    return kept.operation.id


async def drain(deps: Deps) -> None:
    """One worker comes by and does what can be done now."""
    lanes = make_lanes(deps)
    lanes.wake(LANE)
    await lanes.idle()


async def hurry(deps: Deps) -> None:
    """Nobody waits for what is due only later, nor for the leases of the dead."""
    async with deps.store.begin() as tx:
        await tx.execute(update(operation_item).values(due_at=func.now(), lease_until=None))


async def carried_out(deps: Deps, id: OperationId) -> str:
    """Workers come by until the item has ended; the status it ended with."""
    for _ in range(30):
        await drain(deps)
        [status] = await statuses(deps.store, id)
        if status not in ("PENDING", "SENT", "ACCEPTED"):
            return status
        await hurry(deps)
    raise AssertionError(f"it is still {await item_of(deps.store, id)}")


async def document_of(shelf: Shelf, id: OperationId) -> Document | None:
    item = (await item_of(shelf.store, id)).id
    return (await report.documents(shelf, [item])).get(item)


async def fetched(shelf: Shelf, link: str) -> tuple[int, dict[str, str], bytes]:
    path, _, query = link.partition("?")
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("it has no body")

    await Linked(shelf)(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]


async def test_a_report_is_asked_for_waited_for_and_kept_byte_for_byte(
    shelf: Shelf, deps: Deps, port: ReportsPort
) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    id = await asked(shelf, start=start, key="k")
    assert await asked(shelf, start=start, key="k") == id
    port.found.extend([None, Transient("Busy."), None])
    assert await document_of(shelf, id) is None
    assert await carried_out(deps, id) == "VERIFIED"
    [(_, wanted)] = port.made.values()
    assert (wanted.report_type, wanted.start, wanted.end) == (STOCK, start, None)
    found = await document_of(shelf, id)
    assert found is not None
    assert (found.bytes, found.content_type) == (len(FILE.content), FILE.content_type)
    status, headers, body = await fetched(shelf, found.url)
    assert (status, headers["content-type"], body) == (200, FILE.content_type, FILE.content)
    assert headers["cache-control"] == "no-store"
    assert 0 < (found.expires_at - datetime.now(UTC)).total_seconds() <= 600


# Before the intent and after it, after the asking, around the record of it; then around the record of the file.
@pytest.mark.parametrize(
    "place",
    [
        "before_intent",
        "after_intent",
        "after_send",
        "before_record",
        "inside_record",
        "after_record",
        "after_verify_read",
        "before_verify_record",
    ],
)
async def test_wherever_a_worker_dies_a_report_is_asked_for_once(
    shelf: Shelf, deps: Deps, port: ReportsPort, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    passed: list[str] = []

    def point(name: str) -> None:
        passed.append(name)
        if name == place and passed.count(name) == 1:
            raise asyncio.CancelledError

    for module in ("workers.lanes", "workers.writes", "workers.reports"):
        monkeypatch.setattr(f"{module}.point", point)
    id = await asked(shelf)
    assert await carried_out(deps, id) == "VERIFIED"
    assert place in passed
    assert (list(port.made), set(port.looked_at)) == (["R1"], {"R1"})
    assert await document_of(shelf, id) is not None


async def test_a_lost_answer_is_found_and_what_is_nowhere_is_asked_for_again(
    shelf: Shelf, deps: Deps, port: ReportsPort
) -> None:
    port.asking.append(OutcomeUnknown("The line went dead."))
    assert await carried_out(deps, await asked(shelf)) == "VERIFIED"
    assert list(port.made) == ["R1"]
    port.made.clear()
    port.asking.append(RuntimeError("Nothing left the house."))
    assert await carried_out(deps, await asked(shelf)) == "VERIFIED"
    assert list(port.made) == ["R1"]


async def test_a_report_that_is_refused_fails_with_its_reason_and_a_retry_asks_for_a_new_one(
    shelf: Shelf, deps: Deps, port: ReportsPort
) -> None:
    id = await asked(shelf)
    port.found.append(Refused("Too long a range."))
    assert await carried_out(deps, id) == "FAILED"
    assert (await item_of(deps.store, id)).error_message == "Too long a range."
    assert await document_of(shelf, id) is None
    async with deps.store.begin() as tx:
        await operation.retry(tx, id)
    # The answer is lost this time, and what came to nothing is not taken for it.
    port.asking.append(OutcomeUnknown("The line went dead."))
    assert await carried_out(deps, id) == "VERIFIED"
    assert (list(port.made), port.looked_at[-1]) == (["R1", "R2"], "R2")


async def test_a_report_that_never_comes_is_for_people_and_is_looked_at_again(
    shelf: Shelf, deps: Deps, port: ReportsPort
) -> None:
    id = await asked(shelf)
    port.found.append(None)
    later = replace(deps, clock=lambda: datetime.now(UTC) + PATIENCE + timedelta(minutes=1))
    await drain(later)
    await hurry(deps)
    port.found.append(None)
    assert await carried_out(later, id) == "PARKED"
    item = await item_of(deps.store, id)
    assert (item.error_code, "R1" in item.error_message) == ("REPORT_STUCK", True)
    async with deps.store.begin() as tx:
        await operation.retry(tx, id)
    port.found.clear()
    assert await carried_out(deps, id) == "VERIFIED"
    assert list(port.made) == ["R1"]


async def test_a_type_that_waits_for_its_turn_holds_up_no_other(shelf: Shelf, deps: Deps, port: ReportsPort) -> None:
    port.asking.append(Throttled("Once in four hours.", retry_after_s=14_400))
    waiting = await asked(shelf)
    lanes = make_lanes(deps)
    lanes.wake(LANE)
    await lanes.idle()
    other = await asked(shelf, OTHER)
    for _ in range(3):
        lanes.wake(LANE)
        await lanes.idle()
    assert await statuses(deps.store, waiting) == ["PENDING"]
    assert [wanted.report_type for _, wanted in port.made.values()] == [OTHER]
    assert await statuses(deps.store, other) == ["VERIFIED"]


async def test_files_are_forgotten_in_time_and_links_end(shelf: Shelf, deps: Deps) -> None:
    id = await asked(shelf)
    assert await carried_out(deps, id) == "VERIFIED"
    found = await document_of(shelf, id)
    assert found is not None
    forged = found.url.replace("/reports/", "/reports/1")
    assert [(await fetched(shelf, one))[0] for one in (forged, found.url[:-1], "/reports/x")] == [403] * 3
    # A link to a label is none to a report, whatever its number is.
    assert (await fetched(shelf, found.url.replace("/reports/", "/labels/")))[0] == 403
    now = datetime.now(UTC)
    async with deps.store.begin() as tx:
        assert await files.forget(tx, now - REPORTS_REMEMBERED) == 0
        assert await files.forget(tx, now + timedelta(seconds=1)) == 1
    assert (await fetched(shelf, found.url))[0] == 410
    assert await document_of(shelf, id) is None


ASK = """mutation { requestReport(input: {channelId: "Channel:shop", reportType: "STOCK"}) {
    operation { id kind } userErrors { code field } } }"""
SEE = "query($id: ID!) { operation(id: $id) { status items { nodes { key document { url bytes contentType expiresAt } } } } }"


async def test_clients_ask_for_a_report_and_are_given_its_link(shelf: Shelf, deps: Deps) -> None:
    data, errors, _ = await ask(shelf, ASK, OPS)
    assert (errors, data["requestReport"]["userErrors"]) == ([], [])
    made = data["requestReport"]["operation"]
    assert made["kind"] == "REQUEST_REPORT"
    told, _, _ = await ask(shelf, SEE, OPS, id=made["id"])
    assert told["operation"] == {"status": "QUEUED", "items": {"nodes": [{"key": "shop/STOCK", "document": None}]}}
    assert await carried_out(deps, OperationId(node_key("Operation", made["id"]))) == "VERIFIED"
    told, _, _ = await ask(shelf, SEE, OPS, id=made["id"])
    [item] = told["operation"]["items"]["nodes"]
    assert (told["operation"]["status"], item["document"]["bytes"]) == ("SUCCEEDED", len(FILE.content))
    assert (await fetched(shelf, item["document"]["url"]))[2] == FILE.content
    seen, _, _ = await ask(shelf, SEE, Caller("packer", frozenset({"shipments:write"})), id=made["id"])
    assert seen["operation"] is None


LONG_AGO, AHEAD = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)


@pytest.mark.parametrize(
    ("changes", "kind", "field", "words"),
    [
        ({"channel": ChannelId("none")}, NotFound, ("channelId",), "There is no channel none"),
        ({"channel": ChannelId("plain")}, Invalid, ("channelId",), "Channels that do: shop"),
        ({"report_type": "BUYERS"}, Invalid, ("reportType",), "STOCK: what lies where; OTHER: anything else"),
        ({"start": LONG_AGO, "end": LONG_AGO}, Invalid, ("from",), "before"),
        ({"marketplaces": ("US",)}, Invalid, ("marketplaces", "0"), "does not sell in 'US'"),
        ({"marketplaces": ()}, Invalid, ("marketplaces",), "at least one"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_with_what_can(
    shelf: Shelf, changes: dict[str, Any], kind: type[Refused], field: tuple[str, ...], words: str
) -> None:
    wanted = replace(ReportRequest(SHOP, STOCK), **changes)
    kept = await report.request(shelf, "ops", "r-1", wanted, idempotency_key=None)
    [problem] = kept.problems
    assert (kept.operation, type(problem), problem.field) == (None, kind, field)
    assert words in problem.message


async def test_each_marketplace_is_an_item_and_the_future_is_not_told(shelf: Shelf) -> None:
    europe = replace(shelf.channels[SHOP], marketplaces=("DE", "FR"))
    shelf = replace(shelf, channels={SHOP: europe})
    id = await asked(shelf)
    async with shelf.store.begin() as tx:
        [made], _ = await operation.page(tx, first=10, kinds=[Kind.REQUEST_REPORT])
        items = await operation.items(tx, id, first=10)
    assert (made.status, made.progress.total) == (OperationStatus.QUEUED, 2)
    assert [one.key for one in items[0]] == ["shop/DE/STOCK", "shop/FR/STOCK"]
    wanted = ReportRequest(SHOP, STOCK, end=datetime.now(UTC) + AHEAD)
    [problem] = (await report.request(shelf, "ops", "r-1", wanted, idempotency_key=None)).problems
    assert problem.field == ("to",)
