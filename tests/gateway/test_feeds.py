"""A warehouse's own system tells us its counts: signed, once, row by row, all in one transaction."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from domain.feed import secret_bytes, sign, signed
from domain.ids import Sku
from domain.ledger import EntryKind
from gateway.settings import Settings
from store import event, feed, ledger, quarantine
from store.session import Store
from tests.gateway.conftest import CHANNELS, Gateway, served
from tests.store.bench import give_places

SECRET = "whsec_" + base64.b64encode(b"the secret that signs: 32 bytes!").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret of yesterday: 32 byte").decode()
KEY = secret_bytes(SECRET)

FEEDS = f"""
[[locations]]
code = "BER"
name = "Berlin"
keeper = "ledger"

[[locations]]
code = "RNO"
name = "Reno"
keeper = "ledger"

[[feeds_in]]
id = "wms"
secret = "{SECRET}"
previous_secret = "{OLD_SECRET}"
locations = ["BER"]

[[feeds_in]]
id = "both"
secret = "{SECRET}"
locations = ["BER", "RNO"]
"""


@pytest.fixture
async def house(store: Store, redis: object, settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway with two feeds and four products."""
    settings.config.write_text(CHANNELS + FEEDS, encoding="utf-8")
    await products(store, "A", "B", "C", "D")
    async with served(settings) as made:
        yield made


async def products(store: Store, *skus: str) -> None:
    async with store.begin() as tx:
        for sku in skus:
            await tx.execute(text("insert into product (sku, title) values (:sku, :sku)"), {"sku": sku})


async def send(
    gateway: Gateway,
    body: Any,
    *,
    feed: str = "wms",
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
    encoded = [(name.encode(), value.encode()) for name, value in told.items()]
    return await gateway.http.post(f"/feeds/{feed}", content=content, headers=encoded)


def rows(*given: tuple[str, int], location: str = "BER", **more: Any) -> list[dict[str, Any]]:
    return [{"sku": sku, "location": location, "quantity": quantity, **more} for sku, quantity in given]


async def lies(store: Store, *skus: str, location: str = "BER") -> dict[str, int]:
    """What is on hand at a place."""
    async with store.begin() as tx:
        found = await ledger.balances(tx, [Sku(sku) for sku in skus])
    return {sku: one.on_hand for sku, all in found.items() for one in all if one.location == location}


async def entries(store: Store) -> list[Any]:
    async with store.begin() as tx:
        found, _ = await ledger.entries(tx, first=100)
    return [one.entry for one in reversed(found)]


async def test_counts_are_corrections_with_reason_actor_and_source(house: Gateway, store: Store) -> None:
    taken = await send(house, {"type": "stock.count", "lines": rows(("A", 5), ("B", 3))}, id="first")
    assert (taken.status_code, taken.json()) == (200, {"accepted": 2, "changed": 2, "rejected": []})
    line = {"sku": "A", "location": "BER", "quantity": 4, "reason": "one was broken"}
    assert (await send(house, {"type": "stock.count", "lines": [line]}, id="second")).json()["changed"] == 1
    assert await lies(store, "A", "B") == {"A": 4, "B": 3}
    assert [
        (one.sku, one.kind, one.on_hand, one.reason, one.actor, one.source, one.key) for one in await entries(store)
    ] == [
        ("A", EntryKind.COUNT, 5, "told by wms", "wms", "webhook:wms", "webhook:wms:first:1"),
        ("B", EntryKind.COUNT, 3, "told by wms", "wms", "webhook:wms", "webhook:wms:first:2"),
        ("A", EntryKind.COUNT, -1, "one was broken", "wms", "webhook:wms", "webhook:wms:second:1"),
    ]
    await give_places(store)
    async with store.begin() as tx:
        assert [one.subject for one in await event.after(tx, 0)] == ["A", "B", "A"]


async def test_movements_add_up_and_an_arrival_takes_off_what_was_announced(house: Gateway, store: Store) -> None:
    lines = [
        *rows(("A", 10), kind="EXPECTED", reference="PO-1"),
        *rows(("A", 4), kind="RECEIPT", reference="PO-1"),
        *rows(("A", -1), reason="broken on arrival"),
        *rows(("A", 2), kind="return"),
    ]
    assert (await send(house, {"type": "stock.delta", "lines": lines})).json()["accepted"] == 4
    async with store.begin() as tx:
        [one] = (await ledger.balances(tx, [Sku("A")]))[Sku("A")]
    assert (one.on_hand, one.reserved, one.inbound) == (5, 0, 6)
    assert [one.kind for one in await entries(store)] == [
        EntryKind.EXPECTED,
        EntryKind.RECEIPT,
        EntryKind.ADJUSTMENT,
        EntryKind.RETURN,
    ]


async def test_rows_that_are_not_understood_are_told_and_kept_and_the_others_count(
    house: Gateway, store: Store
) -> None:
    await send(house, {"type": "stock.count", "lines": rows(("A", 5))})
    lines = [
        *rows(("A", 1), ("nobody's", 1)),
        *rows(("A", 1), location="RNO"),
        {"sku": "A", "location": "BER", "quantity": "many"},
        {"sku": "A", "location": "BER", "quantity": 1.5},
        {"sku": "A", "location": "BER", "quantity": True},
        {"sku": "A", "location": "BER", "quantity": 2**31},
        {"sku": "A", "location": "BER"},
        {"location": "BER", "quantity": 1},
        {"sku": "A\n", "location": "BER", "quantity": 1},
        {"sku": "A", "quantity": 1},
        *rows(("A", 1), kind="ALLOCATION"),
        *rows(("A", -1), kind="RETURN"),
        *rows(("A", 1), kind="TRANSFER", reference="T-1"),
        *rows(("A", 1), colour="red"),
        *rows(("A", -7)),
        {"sku": "B", "location": "BER", "quantity": "+2"},
    ]
    told = (await send(house, {"type": "stock.delta", "lines": lines})).json()
    assert (told["accepted"], told["changed"]) == (2, 2)
    reasons = {one["row"]: one["reason"] for one in told["rejected"]}
    assert reasons == {
        2: "no product of ours has this SKU",
        3: "RNO is no place that may be told here; there is BER",
        4: "`quantity` must be a whole number, not 'many'",
        5: "`quantity` must be a whole number, not '1.5'",
        6: "`quantity` must be a whole number, not 'True'",
        7: "`quantity` must be a whole number, not '2147483648'",
        8: "`quantity` is missing",
        9: "`sku` is missing",
        10: "`sku` must be a text of 1 to 200 printable characters",
        11: "`location` is missing",
        12: "`kind` must be one of ADJUSTMENT, EXPECTED, RECEIPT, RETURN",
        13: "a RETURN cannot be below zero; book an ADJUSTMENT",
        14: "a TRANSFER is booked whole: by the mutation adjustStock, with `transferTo`",
        15: "`colour` is no field of a row; there are sku, location, quantity, kind, reason, reference",
        16: "6 are there; -7 cannot be",
    }
    assert await lies(store, "A", "B") == {"A": 6, "B": 2}
    async with store.begin() as tx:
        kept = await quarantine.recent(tx, 50)
    assert {(one.rejected.channel, one.rejected.what) for one in kept} == {("webhook:wms", "stock")}
    assert {one.rejected.reason for one in kept} == set(reasons.values())
    assert json.loads(next(one.rejected.raw for one in kept if one.rejected.key == "nobody's"))["quantity"] == 1


async def test_a_kit_has_no_count_of_its_own(house: Gateway, store: Store) -> None:
    async with store.begin() as tx:
        await tx.execute(text("insert into kit_component (kit, component, quantity) values ('D', 'A', 2)"))
    told = (await send(house, {"type": "stock.count", "lines": rows(("D", 1), ("A", 4))})).json()
    assert told["rejected"] == [{"row": 1, "sku": "D", "reason": "it is a kit; count its components"}]
    assert await lies(store, "A", "D") == {"A": 4}


async def test_a_count_names_a_sku_once(house: Gateway, store: Store) -> None:
    told = (await send(house, {"type": "stock.count", "lines": rows(("A", 1), ("A", 2))})).json()
    assert told["accepted"] == 1
    assert told["rejected"] == [
        {"row": 2, "sku": "A", "reason": "this SKU is counted there in row 1 already; which one is meant?"}
    ]
    assert await lies(store, "A") == {"A": 1}


async def test_a_full_feed_empties_what_it_does_not_name_and_nothing_elsewhere(house: Gateway, store: Store) -> None:
    await send(house, {"type": "stock.count", "lines": rows(("A", 1), ("B", 2), ("C", 3), ("D", 4))})
    await send(house, {"type": "stock.count", "lines": rows(("C", 9), location="RNO")}, feed="both")
    # D is misspelt in its number: it is there all the same.
    body = {
        "type": "stock.full",
        "lines": [*rows(("A", 1), ("B", 5)), {"sku": "D", "location": "BER", "quantity": "x"}],
    }
    told = (await send(house, body)).json()
    assert (told["accepted"], told["changed"], len(told["rejected"])) == (2, 2, 1)
    assert await lies(store, "A", "B", "C", "D") == {"A": 1, "B": 5, "C": 0, "D": 4}
    assert await lies(store, "C", location="RNO") == {"C": 9}
    assert (await entries(store))[-1].reason == "not named by a full feed"


async def test_a_full_feed_of_two_places_is_full_at_each(house: Gateway, store: Store) -> None:
    for place in ("BER", "RNO"):
        await send(house, {"type": "stock.count", "lines": rows(("A", 1), ("B", 1), location=place)}, feed="both")
    lines = [*rows(("A", 1), ("B", 1)), *rows(("A", 1), location="RNO")]
    assert (await send(house, {"type": "stock.full", "lines": lines}, feed="both")).json()["changed"] == 1
    assert (await lies(store, "A", "B"), await lies(store, "A", "B", location="RNO")) == (
        {"A": 1, "B": 1},
        {"A": 1, "B": 0},
    )


@pytest.mark.parametrize(
    "row",
    [
        {"sku": " C ", "location": "BER", "quantity": "three"},
        {"SKU": "C", "location": "BER", "quantity": 3},
        {"sku": "C\u200b", "location": "BER", "quantity": 3},
        {"sku": ["C"], "location": "BER", "quantity": 3},
    ],
)
async def test_a_full_feed_empties_nothing_that_a_row_with_a_mistake_may_be_about(
    house: Gateway, store: Store, row: dict[str, Any]
) -> None:
    await send(house, {"type": "stock.count", "lines": rows(("A", 1), ("B", 2), ("C", 3))})
    told = (await send(house, {"type": "stock.full", "lines": [*rows(("A", 5), ("B", 2)), row]})).json()
    assert [one["row"] for one in told["rejected"]] == [3]
    assert await lies(store, "A", "B", "C") == {"A": 5, "B": 2, "C": 3}


async def test_a_full_feed_that_would_empty_most_of_a_place_must_say_so(house: Gateway, store: Store) -> None:
    await send(house, {"type": "stock.count", "lines": rows(("A", 1), ("B", 2), ("C", 3))})
    body = {"type": "stock.full", "lines": rows(("A", 1))}
    refused = await send(house, body, id="part")
    assert (refused.status_code, "2 of the 3 SKUs that lie at BER are not named" in refused.json()["error"]) == (
        400,
        True,
    )
    assert await lies(store, "A", "B", "C") == {"A": 1, "B": 2, "C": 3}
    # Refused is not taken: the same delivery may come again, confirmed.
    taken = await send(house, {**body, "confirm": True}, id="part")
    assert taken.json() == {"accepted": 1, "changed": 2, "rejected": []}
    assert await lies(store, "A", "B", "C") == {"A": 1, "B": 0, "C": 0}


async def test_a_delivery_counts_once_however_often_and_at_once_it_comes(house: Gateway, store: Store) -> None:
    body = {"type": "stock.delta", "lines": rows(("A", 5))}
    answers = await asyncio.gather(*(send(house, body, id="same") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["accepted"] for answer in answers) == [0] * 7 + [1]
    assert [answer.json().get("again") for answer in answers].count(True) == 7
    assert await lies(store, "A") == {"A": 5}
    # The id belongs to its feed.
    assert (await send(house, body, id="same", feed="both")).json()["changed"] == 1
    assert await lies(store, "A") == {"A": 10}


async def test_another_delivery_under_the_same_id_is_told(house: Gateway, store: Store) -> None:
    body = {"type": "stock.delta", "lines": rows(("A", 5))}
    await send(house, body, id="same")
    other = await send(house, {"type": "stock.delta", "lines": rows(("A", 6))}, id="same")
    assert (other.status_code, "Another delivery was taken under the id 'same'" in other.json()["error"]) == (409, True)
    # The same rows, written in another way.
    again = await send(house, {"lines": rows(("A", 5)), "type": "stock.delta", "confirm": False}, id="same")
    assert (again.status_code, again.json()["again"]) == (200, True)
    assert await lies(store, "A") == {"A": 5}


async def test_shuffled_and_repeated_deliveries_add_up(house: Gateway, store: Store) -> None:
    dice = random.Random(7)
    await send(house, {"type": "stock.count", "lines": rows(("A", 1000), ("B", 1000))})
    sent = [(f"d{number}", rows(("A", dice.randint(-9, 9)), ("B", dice.randint(-9, 9)))) for number in range(30)]
    all_of_them = [one for one in sent for _ in range(dice.randint(1, 4))]
    dice.shuffle(all_of_them)
    for start in range(0, len(all_of_them), 6):
        await asyncio.gather(
            *(
                send(house, {"type": "stock.delta", "lines": lines}, id=id)
                for id, lines in all_of_them[start : start + 6]
            )
        )
    wanted = {
        sku: 1000 + sum(line["quantity"] for _, lines in sent for line in lines if line["sku"] == sku) for sku in "AB"
    }
    assert await lies(store, "A", "B") == wanted
    async with store.begin() as tx:
        assert (await ledger.check(tx)).wrong == []


async def test_a_delivery_that_was_forgotten_still_counts_once(house: Gateway, store: Store) -> None:
    body = {"type": "stock.delta", "lines": rows(("A", 5))}
    await send(house, body, id="old")
    async with store.begin() as tx:
        assert await feed.forget_deliveries(tx, datetime.now(UTC) - timedelta(days=1)) == 0
        assert await feed.forget_deliveries(tx, datetime.now(UTC) + timedelta(days=1)) == 1
    assert (await send(house, body, id="old")).json() == {"accepted": 1, "changed": 0, "rejected": []}
    assert await lies(store, "A") == {"A": 5}


def forged() -> list[dict[str, Any]]:
    """How a delivery may be wrong, as of now."""
    return [
        {"key": b"another secret of thirty-two bytes"},
        {"at": time.time() - 301},
        {"at": time.time() + 600},
        {"feed": "nobody"},
        {"feed": "wms/"},
        {"webhook_signature": ""},
        {"webhook_signature": "v1,"},
        {"webhook_signature": "v1,ünïcode"},
        {"webhook_signature": "v1a,AAAA"},
        {"webhook_timestamp": ""},
        {"webhook_timestamp": "soon"},
        {"webhook_timestamp": "1e9"},
        {"webhook_id": ""},
        {"webhook_id": "another"},
    ]


async def test_a_delivery_that_is_not_well_signed_is_refused_without_a_word_why(house: Gateway, store: Store) -> None:
    for wrong in forged():
        refused = await send(house, {"type": "stock.count", "lines": rows(("A", 5))}, **wrong)
        assert (refused.status_code, refused.json()) == (401, {"error": "The signature is not good."}), wrong
    assert await lies(store, "A") == {}
    assert (await send(house, {"type": "stock.count", "lines": rows(("A", 5))})).status_code == 200


async def test_another_body_under_a_good_signature_is_refused(house: Gateway) -> None:
    body = json.dumps({"type": "stock.count", "lines": rows(("A", 5))}).encode()
    now = int(time.time())
    headers = {"webhook-id": "x", "webhook-timestamp": str(now), "webhook-signature": sign(KEY, "x", now, body)}
    for content, status in ((body, 200), (body.replace(b"5", b"6"), 401)):
        assert (await house.http.post("/feeds/wms", content=content, headers=headers)).status_code == status


async def test_a_secret_is_replaced_without_a_gap(house: Gateway) -> None:
    body = {"type": "stock.count", "lines": rows(("A", 5))}
    assert (await send(house, body, key=secret_bytes(OLD_SECRET))).status_code == 200
    assert (await send(house, body, feed="both", key=secret_bytes(OLD_SECRET))).status_code == 401
    # A sender in the middle of changing over signs with both.
    content, now = json.dumps(body).encode(), int(time.time())
    both = " ".join(sign(key, "two", now, content) for key in (b"the next secret, of thirty-two b", KEY))
    headers = {"webhook-id": "two", "webhook-timestamp": str(now), "webhook-signature": both}
    assert (await house.http.post("/feeds/both", content=content, headers=headers)).status_code == 200


def test_signatures_are_those_of_the_specification() -> None:
    # The example that the specification publishes.
    key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    wanted = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == wanted
    good = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signed([key], *good, f"v1,AAAA {wanted}", 1614265330 + 300)
    assert not signed([key], *good, wanted, 1614265330 + 301)
    assert not signed([], *good, wanted, 1614265330)


NO_FEEDS = [
    (b"", "must be JSON"),
    (b"[]", "must be a JSON object"),
    (b'{"type": "stock.count", "type": "stock.full", "lines": []}', "gives a name twice"),
    (b'{"type": "stock.level", "lines": [{}]}', "`type` must be one of stock.delta, stock.count, stock.full."),
    (b'{"type": "stock.full", "lines": []}', "`lines` must be a list of at least one row."),
    (b'{"type": "stock.full"}', "`lines` must be a list of at least one row."),
    (b'{"type": "stock.full", "lines": [1]}', "Each of `lines` must be an object"),
    (b'{"type": "stock.full", "lines": [{}], "confirm": 1}', "`confirm` must be true or false."),
    (b'{"type": "stock.count", "lines": [{"sku": "A\\u0000"}]}', "NUL"),
]


async def test_what_is_no_feed_is_a_400(house: Gateway) -> None:
    for body, said in NO_FEEDS:
        refused = await send(house, body)
        assert (refused.status_code, said in refused.json()["error"]) == (400, True), body


async def test_only_post_and_only_so_much(house: Gateway) -> None:
    assert (await house.http.get("/feeds/wms")).status_code == 405
    assert (await send(house, b" " * (1024 * 1024 + 1))).status_code == 413


async def test_a_thousand_rows_are_taken_at_once(house: Gateway, store: Store) -> None:
    skus = [f"S{number}" for number in range(1000)]
    await products(store, *skus)
    told = (await send(house, {"type": "stock.full", "lines": rows(*((sku, 7) for sku in skus))})).json()
    assert (told["accepted"], told["changed"]) == (1000, 1000)
    assert set((await lies(store, *skus)).values()) == {7}


async def test_while_the_database_is_away_the_sender_is_told_to_come_again(
    settings: Settings, tmp_path: Path, redis: object
) -> None:
    settings.config.write_text(CHANNELS + FEEDS, encoding="utf-8")
    away = settings.model_copy(update={"database_url": type(settings.database_url)("postgresql://x@127.0.0.1:9/none")})
    async with served(away) as gateway:
        answer = await send(gateway, {"type": "stock.count", "lines": rows(("A", 5))})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
