"""Parcels told over HTTP: signed deliveries, and files; both become rows first."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import time
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import example, given
from hypothesis import settings as trying
from hypothesis import strategies as st
from sqlalchemy import func, select

from domain.channel import Platform
from domain.feed import secret_bytes, sign
from domain.ids import ChannelId
from gateway import tracking_file
from gateway.rows import FileProblem
from gateway.settings import Settings
from gateway.tracking_file import Outcome, Result, Wanted
from store import tracking
from store.session import Store
from store.tables import operation_item, tracking_row
from tests.gateway.conftest import CHANNELS, Gateway, served
from tests.workers.test_tracking import AT, keep, make_order, parcel, seen

SECRET = "whsec_" + base64.b64encode(b"the secret that signs: 32 bytes!").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret of yesterday: 32 byte").decode()
KEY = secret_bytes(SECRET)
# The usual run has to be short; ACORN_TEST_DELIVERIES=10000 tries a whole day of a large warehouse.
DELIVERIES = int(os.environ.get("ACORN_TEST_DELIVERIES", "100"))
SOURCES = f"""
[[locations]]
code = "BER"
name = "Berlin"
keeper = "ledger"

[[tracking_in]]
id = "wms"
secret = "{SECRET}"
previous_secret = "{OLD_SECRET}"
channels = ["shop"]
locations = ["BER"]
"""
HEAD = "order,carrier,tracking_number,shipped_at,sku,quantity\n"


@pytest.fixture
async def house(store: Store, redis: object, settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that one warehouse tells of parcels."""
    settings.config.write_text(CHANNELS + SOURCES, encoding="utf-8")
    async with served(settings) as made:
        yield made


async def send(
    gateway: Gateway,
    body: Any,
    *,
    source: str = "wms",
    id: str | None = None,
    key: bytes = KEY,
    at: float | None = None,
    **headers: str,
) -> httpx.Response:
    """A signed delivery; `headers` replace those of the signature."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    id = id or uuid4().hex
    timestamp = int(time.time() if at is None else at)
    told = {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(key, id, timestamp, content),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await gateway.http.post(f"/tracking/{source}", content=content, headers=told)


async def rows(store: Store) -> list[tuple[str, int, str]]:
    """(delivery, number, what it names), without the ids that follow arrival."""
    t = tracking_row.c
    async with store.begin() as tx:
        found = await tx.execute(select(t.delivery, t.number, t.tracking_number))
        return sorted((row.delivery, row.number, row.tracking_number or "") for row in found)


async def test_a_delivery_is_kept_and_what_cannot_be_read_is_told_and_kept(house: Gateway, store: Store) -> None:
    body = {
        "parcels": [parcel("1001"), parcel("1001", shippedAt="20.11.2026 09:00"), parcel("1002", location="RNO")],
        "events": [seen("JD0001", "DELIVERED", 5)],
    }
    told = await send(house, body)
    assert told.status_code == 202
    assert told.json() == {
        "accepted": 2,
        "problems": [
            {
                "kind": "PARCEL",
                "row": 2,
                "reason": "`shippedAt` must be a date, time and time zone such as 2026-11-28T09:30:00+01:00",
            },
            {"kind": "PARCEL", "row": 3, "reason": "RNO is no place that may be told here; there is BER"},
        ],
    }
    async with store.begin() as tx:
        assert await tracking.problems_count(tx) == 2
        assert await tx.scalar(select(func.count()).select_from(tracking_row)) == 4


async def test_the_secret_of_yesterday_signs_too_and_any_flaw_is_the_same_401(house: Gateway, store: Store) -> None:
    body = {"parcels": [parcel("1001")]}
    assert (await send(house, body, key=secret_bytes(OLD_SECRET))).status_code == 202
    flaws = [
        await send(house, body, key=b"somebody else's key of 32 bytes!"),
        await send(house, body, source="nobody"),
        await send(house, body, at=time.time() - 400),
        await send(house, body, webhook_signature="v1,"),
        await send(house, body, webhook_id="another"),
    ]
    assert {(one.status_code, one.text) for one in flaws} == {(401, '{"error":"The signature is not good."}')}
    assert len(await rows(store)) == 1


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"parcels": 1}', b'{"parcels": [], "more": 1}', b"\xff", b'{"events": {}}']
)
async def test_what_is_no_delivery_is_refused(house: Gateway, store: Store, body: bytes) -> None:
    assert (await send(house, body)).status_code == 400
    assert await rows(store) == []


async def test_another_delivery_under_the_same_id_is_refused(house: Gateway, store: Store) -> None:
    assert (await send(house, {"parcels": [parcel("1001")]}, id="d1")).json() == {"accepted": 1, "problems": []}
    again = await send(house, json.dumps({"parcels": [parcel("1001")]}, indent=1).encode(), id="d1")
    assert (again.status_code, again.json()["again"]) == (202, True)
    assert (await send(house, {"parcels": [parcel("1002")]}, id="d1")).status_code == 409
    assert len(await rows(store)) == 1


async def test_shuffled_repeated_forged_and_stale_deliveries_leave_the_same_rows(house: Gateway, store: Store) -> None:
    chance = random.Random(8)
    bodies = [{"parcels": [parcel(str(one), f"JD{one:06}")]} for one in range(DELIVERIES)]
    arriving: list[tuple[str, int, dict[str, Any]]] = [("good", one, {}) for one in range(DELIVERIES)]
    arriving += [("good", one, {}) for one in chance.sample(range(DELIVERIES), DELIVERIES // 3)]
    arriving += [("bad", one, {"key": b"x" * 32}) for one in chance.sample(range(DELIVERIES), DELIVERIES // 10)]
    arriving += [("bad", one, {"at": 1.0e9}) for one in chance.sample(range(DELIVERIES), DELIVERIES // 10)]
    chance.shuffle(arriving)
    turns = asyncio.Semaphore(16)

    async def one(kind: str, number: int, more: dict[str, Any]) -> tuple[str, int]:
        async with turns:
            told = await send(house, bodies[number], id=f"d{number}", **more)
        return kind, told.status_code

    answers = await asyncio.gather(*(one(*each) for each in arriving))
    assert set(answers) == {("good", 202), ("bad", 401)}
    assert await rows(store) == sorted((f"d{one}", 1, f"JD{one:06}") for one in range(DELIVERIES))


def lines(text: str | bytes, *, json_lines: bool = False) -> list[tracking_file.Parcel]:
    content = text.encode() if isinstance(text, str) else text
    return list(tracking_file.read(BytesIO(content), json_lines=json_lines))


def test_lines_of_one_parcel_stand_one_below_the_other() -> None:
    at = AT.isoformat()
    found = lines(f"{HEAD}1001,DHL,JD1,{at},A,1\n1001,DHL,JD1,{at},B,2\n\n1002,UPS,1Z1,{at},,\n")
    assert [(one.numbers, one.row.reason) for one in found] == [((2, 3), ""), ((5,), "")]
    told: Any = [one.row.told for one in found]
    assert [(line.sku, line.quantity) for line in told[0].lines] == [("A", 1), ("B", 2)]
    assert told[1].lines is None


def test_a_parcel_of_which_one_line_is_wrong_is_not_confirmed_in_part() -> None:
    at = AT.isoformat()
    [one] = lines(f"{HEAD}1001,DHL,JD1,{at},A,1\n1001,DHL,JD1,{at},B,many\n")
    assert (one.numbers, one.row.told) == ((2, 3), None)
    [one] = lines(f"{HEAD}1001,DHL,JD1,{at},A,1\n1001,UPS,JD1,{at},B,1\n")
    assert one.row.reason == "rows 2 and 3 differ in `carrier` and tell of one parcel"
    many = "".join(f"1001,DHL,JD1,{at},A{number},1\n" for number in range(1_200))
    found = lines(HEAD + many)
    assert {one.row.told for one in found} == {None}
    assert sum(len(one.numbers) for one in found) == 1_200


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1001,DHL,JD1,20.11.2026,,", "`shippedAt` must be a date, time and time zone such as"),
        ("1001,DHL,JD1,2026-11-20,,", "`shippedAt` must be a date, time and time zone such as"),
        ("1001,DHL,JD1,11/20/2026 9:00,,", "`shippedAt` must be a date, time and time zone such as"),
        ("1001,DHL,1.23457E+17,2026-11-20T09:00:00Z,,", "`trackingNumber` 1.23457E+17 was shortened by a spreadsheet"),
        ("=1+1,DHL,JD1,2026-11-20T09:00:00Z,,", "`order` begins like a formula; write its value"),
        ("1001,DHL,@SUM(A1),2026-11-20T09:00:00Z,,", "`trackingNumber` begins like a formula; write its value"),
        ('1001,"DHL,JD1,2026-11-20T09:00:00Z,,', "a quotation mark has no other end"),
        ("1001,DHL,JD1", "3 values stand under 6 columns"),
        ("1001,DHL,JD1,2026-11-20T09:00:00Z,A,1.5", "`quantity` must be a whole number from 1, not '1.5'"),
        ("1001,DHL,JD1,2026-11-20T09:00:00Z,A,", "`quantity` is missing"),
        ("1001,DHL,JD1,2026-11-20T09:00:00Z,,2", "each of `lines` names one of `sku` and `lineId`"),
        (",DHL,JD1,2026-11-20T09:00:00Z,,", "`order` is missing"),
        ("1001,D\x00HL,JD1,2026-11-20T09:00:00Z,,", "`carrier` must be a text of 1 to 200 printable characters"),
        ("1" * 70_000, "the line is longer than 64 KiB"),
    ],
)
def test_a_row_that_is_wrong_is_refused_with_its_reason_and_spoils_no_other(row: str, reason: str) -> None:
    good = "1002,DHL,JD2,2026-11-20T09:00:00Z,,"
    found = lines(f"{HEAD}{good}\n{row}\n{good}\n")
    assert [one.row.told is not None for one in found] == [True, False, True]
    assert found[1].row.reason.startswith(reason)


def test_marks_before_the_text_semicolons_and_spelled_columns_are_read() -> None:
    told = "\ufeffOrder;Carrier;Tracking Number;shipped at\r\n1001;DHL;JD1;2026-11-20T09:00:00Z\r\n"
    [one] = lines(told)
    assert (one.numbers, one.row.reason, one.tracking_number) == ((2,), "", "JD1")
    [latin] = lines(HEAD.encode() + "1001,Päckchen,JD1,2026-11-20T09:00:00Z,,\n".encode("latin-1"))
    assert latin.row.reason == "the line is not UTF-8; save the file as UTF-8"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("order,carrier\n", "`trackingNumber` among them"),
        ("order,carier,tracking_number,shipped_at\n", "Did you mean `carrier`?"),
        ("order,order,tracking_number,shipped_at\n", "stands there twice"),
        ("order,buyer,tracking_number\n", "The column `buyer` is none of ours"),
        ("order".encode("utf-16"), "is UTF-16"),
        (b"\xff" * 70_000, "The first line must name the columns"),
    ],
)
def test_a_file_whose_columns_are_not_understood_is_not_read_at_all(text: str | bytes, reason: str) -> None:
    with pytest.raises(FileProblem, match=reason):
        lines(text)


@given(st.binary(max_size=400), st.booleans(), st.booleans())
@example(b'"', False, True)
@example(b"\x00\n" * 9, True, False)
def test_a_hostile_file_is_refused_row_by_row_or_as_a_whole_and_nothing_else_happens(
    content: bytes, json_lines: bool, headed: bool
) -> None:
    before = HEAD.encode() if headed and not json_lines else b""
    try:
        found = lines(before + content, json_lines=json_lines)
    except FileProblem:
        return
    for one in found:
        assert one.numbers == tuple(sorted(one.numbers))
        assert (one.row.told is None) == bool(one.row.reason)
        assert (one.order + one.tracking_number).isprintable()
        assert not one.order.startswith(("=", "+", "-", "@"))
    numbers = [number for one in found for number in one.numbers]
    assert numbers == sorted(set(numbers))


@trying(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[A-Z0-9#][A-Za-z0-9 #-]{0,15}", fullmatch=True).map(str.strip).filter(bool),
            st.from_regex(r"[A-Z0-9]{1,20}", fullmatch=True).filter(lambda one: not one.isdigit() or "E" not in one),
            st.lists(st.tuples(st.from_regex(r"[A-Z]{1,6}", fullmatch=True), st.integers(1, 999)), max_size=4),
        ),
        max_size=12,
        unique_by=lambda one: one[0],
    )
)
def test_what_is_written_as_csv_and_as_json_lines_is_read_as_the_same(told: list[tuple[str, str, Any]]) -> None:
    as_csv, as_json = HEAD, ""
    for order, number, inside in told:
        for sku, units in inside or [("", "")]:
            as_csv += f'"{order}",DHL,{number},{AT.isoformat()},{sku},{units}\n'
        of_it = [{"sku": sku, "quantity": units} for sku, units in inside]
        whole = parcel(order, number, carrier="DHL", lines=of_it or None)
        as_json += json.dumps(whole) + "\n"
    assert [one.row.told for one in lines(as_csv)] == [one.row.told for one in lines(as_json, json_lines=True)]


def test_the_template_in_the_documents_can_be_read() -> None:
    content = (Path(__file__).parents[2] / "docs" / "tracking-template.csv").read_bytes()
    assert [(one.numbers, one.row.reason) for one in lines(content)] == [((2, 3), ""), ((4,), "")]


async def run(store: Store, text: str, *, dry_run: bool = False) -> list[Outcome]:
    told: list[Outcome] = []
    wanted = Wanted("Ada (acorn orders)", dry_run)
    await tracking_file.run(store, {ChannelId("shop"): Platform.SHOPIFY}, BytesIO(text.encode()), wanted, told.append)
    return told


async def confirmed(store: Store) -> int:
    async with store.begin() as tx:
        return await tx.scalar(select(func.count()).select_from(operation_item)) or 0


async def test_a_file_counts_once_however_often_it_is_sent_and_goes_on_where_it_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_file, "BATCH", 2)
    await keep(store, *(make_order(str(number)) for number in range(5)))
    at = AT.isoformat()
    text = HEAD + "".join(f"{number},DHL,JD000{number},{at},A0,2\n" for number in range(6)) + f"1,DHL,JD9,{at},A0,1\n"
    dry = await run(store, text, dry_run=True)
    assert (await confirmed(store), await rows(store)) == (0, [])

    class Killed(Exception):
        pass

    def killed(_: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        await tracking_file.run(
            store, {ChannelId("shop"): Platform.SHOPIFY}, BytesIO(text.encode()), Wanted("Ada"), print, killed
        )
    assert await confirmed(store) == 2
    first = await run(store, text)
    again = await run(store, text)
    for told, known in ((dry, 0), (first, 2), (again, 5)):
        expected = [Result.ALREADY] * known + [Result.CONFIRMED] * (5 - known) + [Result.WAITING]
        assert [one.result for one in told[:6]] == expected
    assert [one.reason for one in first[5:]] == [
        "There is no order 5 yet.",
        "1 units cannot ship: 0 of this line are open.",
    ]
    assert await confirmed(store) == 5


async def test_a_file_is_sent_over_http_with_a_key_that_may_ship(house: Gateway, store: Store) -> None:
    await keep(store, make_order("1001"))
    at = AT.isoformat()
    text = f"{HEAD}1001,DHL,JD0001,{at},,\n1009,DHL,JD0009,{at},,\n1001,DHL,,{at},,\n".encode()
    headers = await house.headers("shipments:write", content_type="text/csv")
    dry = await house.http.post("/tracking/files?dryRun=true", content=text, headers=headers)
    assert dry.json() | {"report": []} == {
        "dryRun": True,
        "rows": 3,
        "confirmed": 1,
        "already": 0,
        "waiting": 1,
        "refused": 1,
        "report": [],
    }
    assert await confirmed(store) == 0
    form = {"authorization": headers["authorization"]}
    told = await house.http.post("/tracking/files", files={"file": ("day.csv", text, "text/csv")}, headers=form)
    assert [(one["row"], one["result"], one["reason"]) for one in told.json()["report"]] == [
        (3, "waiting", "There is no order 1009 yet."),
        (4, "refused", "`trackingNumber` is missing"),
    ]
    again = await house.http.post("/tracking/files", content=text, headers=headers)
    assert (again.json()["already"], await confirmed(store)) == (1, 1)
    kind = 'multipart/form-data; boundary="b"'
    cut = b'--b\r\ncontent-disposition: form-data; name="file"; filename="day.csv"\r\n\r\n' + text[:-3]
    for wrong, status in (
        (await house.http.post("/tracking/files", content=text), 401),
        (await house.http.post("/tracking/files", content=text, headers=await house.headers("orders:read")), 403),
        (await house.http.post("/tracking/files", content=text, headers={**headers, "content-type": "x/y"}), 415),
        (await house.http.post("/tracking/files?dryRun=1", content=text, headers=headers), 400),
        (await house.http.post("/tracking/files", content=b"a,b\n1,2\n", headers=headers), 400),
        (await house.http.post("/tracking/files", content=cut, headers=form | {"content-type": kind}), 400),
        (await house.http.get("/tracking/files", headers=headers), 405),
    ):
        assert wrong.status_code == status, wrong.text
