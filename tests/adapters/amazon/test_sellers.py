"""Where the account sells, and what `acorn doctor` is told about it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from adapters.amazon import sellers
from domain.budget import Ask
from domain.errors import Transient
from tests.adapters.amazon.bench import Desk, Line
from tests.adapters.amazon.reads import client_at


def entry(id: str, code: str, currency: str, *, part: bool = True, suspended: bool = False) -> dict[str, Any]:
    place = {"id": id, "name": f"Amazon {code}", "countryCode": code, "defaultCurrencyCode": currency}
    return {
        "marketplace": {**place, "defaultLanguageCode": "de_DE", "domainName": "www.amazon.test"},
        "participation": {"isParticipating": part, "hasSuspendedListings": suspended},
        "storeName": "Acorn",
    }


async def test_participations_are_told_as_they_are_also_of_stores_that_we_do_not_know(desk: Desk, line: Line) -> None:
    stores = [entry("A1PA6795UKMFR9", "DE", "EUR", suspended=True), entry("A0NEWSTORE", "XX", "XXX", part=False)]
    line.answers.append(httpx.Response(200, json={"payload": stores}))
    german, new = await sellers.participations(client_at(desk), Ask())
    assert (german.marketplace, german.currency, german.language) == ("DE", "EUR", "de_DE")
    assert (german.participating, german.suspended, german.store_name) == (True, True, "Acorn")
    assert (new.marketplace, new.participating, new.suspended) == ("A0NEWSTORE", False, False)


async def test_the_doctor_hears_where_configuration_and_amazon_disagree(desk: Desk, line: Line) -> None:
    stores = [
        entry("A1PA6795UKMFR9", "DE", "EUR"),
        entry("A13V1IB3VIYZZH", "FR", "CHF", suspended=True),
        entry("APJ6JRA9NG5V4", "IT", "EUR", part=False),
    ]
    line.answers.append(httpx.Response(200, json={"payload": stores}))
    told = await sellers.check(client_at(desk), "A1", ["DE", "FR", "IT", "GB"], Ask())
    assert told.said == "Amazon account A1 sells in DE, FR."
    assert [one.found for one in told.warnings] == [
        "Amazon account A1 does not take part in IT, GB.",
        "The listings of Amazon account A1 in FR are suspended: nothing is sold there.",
        "Amazon's prices in FR are in CHF, not in EUR.",
    ]
    assert [one.do.split()[0] for one in told.warnings] == ["Take", "Look", "Write"]


async def test_a_store_without_a_currency_is_no_answer(desk: Desk, line: Line) -> None:
    store = entry("A1PA6795UKMFR9", "DE", "EUR")
    del store["marketplace"]["defaultCurrencyCode"]
    line.answers.append(httpx.Response(200, json={"payload": [store]}))
    with pytest.raises(Transient, match="defaultCurrencyCode"):
        await sellers.participations(client_at(desk), Ask())
