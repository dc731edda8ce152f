"""Lists become files, whatever dies over them; and only who may read a list is given its file."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import func, insert, select, update

from domain.channel import LEDGER
from domain.errors import Invalid, NotFound, Refused
from domain.export import ExportFormat, ExportList, ExportWanted, Writer
from domain.ids import ChannelId, OperationId, OrderId, node_id, node_key
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage
from domain.operation import Capability
from domain.profit import Dimension
from gateway.linked import Linked
from resolvers import export
from resolvers.context import Caller
from resolvers.export import ExportRequest
from resolvers.shelf import Shelf
from store import export as files
from store import export_rows, money_line, order, profit
from store.keyring import Keyring
from store.session import Store
from store.tables import export_part, operation_item, settlement
from tests.resolvers.test_shipment import CountingBell
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.workers.fake_port import make_order, make_port
from tests.workers.house import make_deps, make_lanes, statuses
from workers import exports
from workers.deps import Deps
from workers.exports import Lost, TooLong, write
from workers.lanes import Lane
from workers.upkeep import REPORTS_REMEMBERED

SHOP = ChannelId("shop")
LANE = Lane(LEDGER, Capability.EXPORTS)
BOOKS = Caller("books", frozenset({"finance:read"}))
AT = datetime(2026, 11, 3, 12, tzinfo=UTC)
ALL = ExportWanted(ExportList.MONEY_LINES)


@pytest.fixture
def deps(store: Store, redis: Redis) -> Deps:
    return make_deps(store, redis, [make_port()])


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    return replace(
        House(store, redis).shelf,
        channels={SHOP: make_port().channel},
        bell=CountingBell(),
        ring=Keyring([Fernet.generate_key().decode()]),
    )


def a_line(number: int = 1, **changed: Any) -> MoneyLine:
    made = MoneyLine(
        channel=SHOP,
        source=Source.TRANSACTION,
        stage=Stage.RELEASED,
        event=Event.SALE,
        money_class=MoneyClass.SALE,
        amount=Money(Decimal(number), "EUR"),
        posted_at=AT,
        day=AT.date(),
        kind="=Shipment",
        reference=f"T-{number}",
    )
    return replace(made, **changed)


async def keep(store: Store, *lines: MoneyLine) -> None:
    async with store.begin() as tx:
        await money_line.add(tx, lines)


async def asked(shelf: Shelf, wanted: ExportWanted = ALL, key: str | None = None) -> OperationId:
    kept = await export.request(shelf, "books", "r-1", ExportRequest(wanted, key))
    assert kept.operation is not None, kept.problems
    return kept.operation.id


async def carried_out(deps: Deps, id: OperationId) -> str:
    """Workers come by until the item has ended; the status it ended with."""
    for _ in range(10):
        lanes = make_lanes(deps)
        lanes.wake(LANE)
        await lanes.idle()
        [status] = await statuses(deps.store, id)
        if status not in ("PENDING", "ACCEPTED"):
            return status
        async with deps.store.begin() as tx:
            await tx.execute(update(operation_item).values(due_at=func.now(), lease_until=None))
    raise AssertionError("it does not end")


async def item_of(store: Store, id: OperationId) -> int:
    async with store.begin() as tx:
        found: int = (await tx.scalars(select(operation_item.c.id).where(operation_item.c.operation_id == id))).one()
        return found


async def content(store: Store, item: int) -> str:
    async with store.begin() as tx:
        p = export_part.c
        parts = await tx.scalars(select(p.packed).where(p.item == item).order_by(p.number))
        return b"".join(map(gzip.decompress, parts)).decode()


async def rows(deps: Deps, wanted: ExportWanted) -> list[dict[str, str]]:
    """The rows of the file that a list becomes."""
    async with deps.store.begin() as tx:
        found = await export_rows.read(tx, wanted, profit.places(deps.channels.values()))
        writer = Writer(ExportFormat.CSV, found.columns)
        async for batch in found.batches:
            for row in batch:
                writer.write(row)
    return list(csv.DictReader(io.StringIO(writer.taken().decode(), newline="")))


REQUEST = """mutation($input: RequestExportInput!) { requestExport(input: $input) {
    operation { id kind } userErrors { code field message } } }"""
SEE = """query($id: ID!) { operation(id: $id) { status
    items { nodes { key export { rows bytes done } document { url bytes contentType } } } } }"""


async def test_clients_have_a_list_made_a_file_and_fetch_it(shelf: Shelf, deps: Deps) -> None:
    await keep(deps.store, a_line(), a_line(2))
    data, errors, _ = await ask(shelf, REQUEST, BOOKS, input={"list": "MONEY_LINES", "idempotencyKey": "k"})
    assert (errors, data["requestExport"]["userErrors"]) == ([], [])
    made = data["requestExport"]["operation"]
    assert made["kind"] == "EXPORT"
    again, _, _ = await ask(shelf, REQUEST, BOOKS, input={"list": "MONEY_LINES", "idempotencyKey": "k"})
    assert again["requestExport"]["operation"] == made
    told, _, _ = await ask(shelf, SEE, BOOKS, id=made["id"])
    waiting = {"key": "MONEY_LINES", "export": None, "document": None}
    assert told["operation"] == {"status": "QUEUED", "items": {"nodes": [waiting]}}
    assert await carried_out(deps, OperationId(node_key("Operation", made["id"]))) == "VERIFIED"
    told, _, _ = await ask(shelf, SEE, BOOKS, id=made["id"])
    [item] = told["operation"]["items"]["nodes"]
    assert (told["operation"]["status"], item["export"]["rows"], item["export"]["done"]) == ("SUCCEEDED", 2, True)
    status, headers, body = await fetched(Linked(shelf), item["document"]["url"])
    assert (status, headers["content-length"]) == (200, str(len(body)))
    assert item["document"] | {"url": ""} == {"url": "", "bytes": len(body), "contentType": "text/csv; charset=utf-8"}
    assert [row["amount"] for row in csv.DictReader(io.StringIO(body.decode(), newline=""))] == ["1", "2"]
    assert (await fetched(Linked(shelf), item["document"]["url"][:-1]))[0] == 403
    async with deps.store.begin() as tx:
        assert await files.forget(tx, datetime.now(UTC) - REPORTS_REMEMBERED) == 0
        assert await files.forget(tx, datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert (await fetched(Linked(shelf), item["document"]["url"]))[0] == 410


async def test_a_list_is_for_those_who_may_read_it(shelf: Shelf, deps: Deps) -> None:
    packer = Caller("packer", frozenset({"orders:read", "shipments:write"}))
    _, errors, _ = await ask(shelf, REQUEST, packer, input={"list": "MONEY_LINES"})
    assert "lacks the scope" in errors[0].message
    _, errors, _ = await ask(shelf, REQUEST, BOOKS, input={"list": "ORDERS"})
    assert "lacks the scope" in errors[0].message
    data, _, _ = await ask(shelf, REQUEST, packer, input={"list": "ORDERS"})
    made = data["requestExport"]["operation"]
    assert made["kind"] == "EXPORT_ORDERS"
    mine, theirs = await ask(shelf, SEE, packer, id=made["id"]), await ask(shelf, SEE, BOOKS, id=made["id"])
    assert mine[0]["operation"] is not None
    assert theirs[0]["operation"] is None


async def test_who_dies_over_a_file_leaves_it_to_the_next(
    shelf: Shelf, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(deps.store, *(a_line(number) for number in range(40)))
    monkeypatch.setattr(export_rows, "AT_ONCE", 10)
    id = await asked(shelf)
    item = await item_of(deps.store, id)
    kept = 0

    async def dying(*args: Any) -> bool:
        nonlocal kept
        if kept == 2:
            raise asyncio.CancelledError
        kept += 1
        return await files_add(*args)

    files_add = files.add
    small = partial(write, item=item, wanted=ALL, part_chars=1)
    with monkeypatch.context() as dies:
        dies.setattr(files, "add", dying)
        with pytest.raises(asyncio.CancelledError):
            await small(deps.store, fence=1)
    assert (await content(deps.store, item)).count("\n") == 21
    async with deps.store.begin() as tx:
        assert not (await files.by_items(tx, [item]))[item].done
    await small(deps.store, fence=2)
    # Whoever was thought dead and comes late writes nothing more.
    with pytest.raises(Lost):
        await small(deps.store, fence=1)
    told = list(csv.DictReader(io.StringIO(await content(deps.store, item), newline="")))
    assert [row["amount"] for row in told] == [str(number) for number in range(40)]
    assert await carried_out(deps, id) == "VERIFIED"
    with pytest.raises(Lost):
        await small(deps.store, fence=1_000_000)


async def test_a_file_has_an_end(shelf: Shelf, deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    await keep(deps.store, *(a_line(number) for number in range(40)))
    monkeypatch.setattr(exports, "MOST_BYTES", 1_000)
    id = await asked(shelf)
    assert await carried_out(deps, id) == "FAILED"
    assert TooLong.__doc__


async def test_lines_are_told_by_day_by_channel_and_as_they_were_known(shelf: Shelf, deps: Deps) -> None:
    later = a_line(2, day=AT.date() + timedelta(days=1), sku=None, channel=ChannelId("other"))
    await keep(deps.store, a_line(), later)
    async with deps.store.begin() as tx:
        known_at = await tx.scalar(select(func.max(money_line.c.known_at)))
    async with deps.store.begin() as tx:
        lines = {"T-1": [a_line(3, reference="T-1")]}
        await money_line.renew_all(tx, SHOP, Source.TRANSACTION, lines, {"T-1": "told anew"})

    async def amounts(**wanted: Any) -> list[str]:
        return [row["amount"] for row in await rows(deps, replace(ALL, **wanted))]

    assert await amounts() == ["2", "3"]
    assert await amounts(channel=SHOP) == ["3"]
    assert await amounts(start=AT.replace(day=4, hour=0)) == ["2"]
    assert await amounts(end=AT.replace(day=4, hour=0)) == ["3"]
    assert await amounts(known_at=known_at) == ["1", "2"]
    [row] = await rows(deps, replace(ALL, channel=SHOP))
    assert (row["kind"], row["currency"], row["postedAt"]) == ("'=Shipment", "EUR", "2026-11-03T12:00:00Z")


async def test_settlements_and_what_is_not_tied_out(shelf: Shelf, deps: Deps) -> None:
    async with deps.store.begin() as tx:
        await tx.execute(
            insert(settlement).values(
                id="s1",
                channel=SHOP,
                kind="PAYOUT",
                external_id="P-1",
                currency="EUR",
                starts_at=AT,
                ends_at=AT + timedelta(days=1),
                total=Decimal(3),
                line_count=2,
            )
        )
    books = {"source": Source.SETTLEMENT, "stage": Stage.SETTLED, "settlement": "s1", "reference": ""}
    await keep(deps.store, a_line(1, row=1, **books), a_line(2, row=2, cause=Cause.ORDER_UNKNOWN, **books), a_line(9))
    [one] = await rows(deps, ExportWanted(ExportList.SETTLEMENTS))
    told = ("id", "externalId", "total", "lineCount", "matchedLineCount", "difference")
    assert [one[name] for name in told] == ["Settlement:s1", "P-1", "3", "2", "1", "2"]
    lines = await rows(deps, ExportWanted(ExportList.SETTLEMENT_LINES, settlement="s1"))
    assert [row["row"] for row in lines] == ["1", "2"]
    [residual] = await rows(deps, ExportWanted(ExportList.RESIDUALS))
    assert (residual["cause"], residual["settlementExternalId"]) == ("ORDER_UNKNOWN", "P-1")


async def test_profit_is_told_day_by_day_and_adds_up(shelf: Shelf, deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [AT.date() + timedelta(days=ahead) for ahead in (0, 0, 2)]
    lines = [
        a_line(number, day=day, units=1, order_id=OrderId(f"o{number}")) for number, day in enumerate(days, start=1)
    ]
    fee = a_line(1, money_class=MoneyClass.REFERRAL_FEE, amount=Money(Decimal("-0.50"), "EUR"))
    await keep(deps.store, *lines, fee)
    by = ExportWanted(ExportList.PROFIT, by=(Dimension.DAY, Dimension.CHANNEL))
    told = await rows(deps, by)
    names = ("day", "channel", "currency", "units")
    assert [[row[name] for name in names] for row in told] == [
        ["2026-11-03", "shop", "EUR", "2"],
        ["2026-11-05", "shop", "EUR", "1"],
    ]
    assert [Decimal(row["revenue"]) for row in told] == [3, 3]
    assert [Decimal(row["fees"]) for row in told] == [Decimal("0.5"), 0]
    assert (told[0]["cost"], told[0]["unitsWithoutCost"]) == ("", "2")
    [whole] = await rows(deps, ExportWanted(ExportList.PROFIT, by=(Dimension.MONTH,)))
    assert whole["month"] == "2026-11"
    assert Decimal(whole["revenue"]) == 6
    orders = await rows(deps, ExportWanted(ExportList.PROFIT, by=(Dimension.ORDER,)))
    told_lines = await rows(deps, ExportWanted(ExportList.MONEY_LINES))
    assert {row["order"] for row in orders} == {row["orderId"] for row in told_lines} >= {"Order:o1", "Order:o3"}
    # More than one question may tell is told all the same.
    monkeypatch.setattr(profit, "MOST_ROWS", 1)
    assert await rows(deps, by) == told
    one_day = replace(by, start=AT.replace(hour=0), end=AT.replace(hour=0) + timedelta(days=1))
    assert len(await rows(deps, one_day)) == 1
    rates = await asked(shelf, replace(by, currency="USD"))
    assert await carried_out(deps, rates) == "FAILED", "no rate is known"


async def test_orders_are_told_line_by_line_without_their_buyers(shelf: Shelf, deps: Deps) -> None:
    one = make_order(make_port(), "1001")
    async with deps.store.begin() as tx:
        await order.upsert(tx, [one])
    id = await asked(shelf, ExportWanted(ExportList.ORDERS, ExportFormat.JSONL))
    assert await carried_out(deps, id) == "VERIFIED"
    told = json.loads(await content(deps.store, await item_of(deps.store, id)))
    assert told["id"] == node_id("Order", one.id)
    assert (told["channelSku"], told["quantity"], told["total"]) == ("SKU-1", 2, None)
    assert not {"country", "area", "email"} & told.keys()


async def test_every_list_can_be_read(store: Store) -> None:
    for wanted in ExportList:
        async with store.begin() as tx:
            found = await export_rows.read(tx, ExportWanted(wanted, by=(Dimension.DAY,)))
            assert len(set(found.columns)) == len(found.columns)
            assert [batch async for batch in found.batches if batch] == []


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        ({"channel": ChannelId("none")}, NotFound, "channelId"),
        ({"start": AT, "end": AT}, Invalid, "from"),
        ({"list": ExportList.ORDERS, "known_at": AT}, Invalid, "knownAt"),
        ({"list": ExportList.ORDERS, "settlement": "s1"}, Invalid, "settlementId"),
        ({"list": ExportList.UNIT_COSTS, "channel": SHOP}, Invalid, "channelId"),
        ({"list": ExportList.PROFIT}, Invalid, "groupBy"),
        ({"by": (Dimension.DAY,)}, Invalid, "groupBy"),
        ({"currency": "EUR"}, Invalid, "currency"),
    ],
)
async def test_what_a_list_cannot_be_asked_by_is_refused(
    shelf: Shelf, changes: dict[str, Any], kind: type[Refused], field: str
) -> None:
    kept = await export.request(shelf, "books", "r-1", ExportRequest(replace(ALL, **changes)))
    [problem] = kept.problems
    assert (kept.operation, type(problem), problem.field) == (None, kind, (field,))


async def fetched(linked: Any, url: str) -> tuple[int, dict[str, str], bytes]:
    """What a link answers."""
    path, _, query = url.partition("?")
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await linked(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(one["body"] for one in sent[1:])
