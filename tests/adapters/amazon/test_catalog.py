"""Catalog items, from written answers and from the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from adapters.amazon import catalog
from domain.budget import Ask
from domain.catalog import CatalogItem, Identifier, Measure
from domain.errors import Invalid, NotFound, Transient
from tests.adapters.amazon.bench import Desk, Line, Sandbox
from tests.adapters.amazon.reads import client_at, lift_plans

US = "ATVPDKIKX0DER"
OpenDesk = Callable[..., Desk]


def summaries(*names: str, **changed: Any) -> list[dict[str, Any]]:
    return [{"marketplaceId": US, "itemName": name, **changed} for name in names]


async def test_what_the_catalog_does_not_say_stays_unsaid(desk: Desk, line: Line) -> None:
    line.answers.append(httpx.Response(200, json={"asin": "B000000001"}))
    found = await catalog.item(client_at(desk), "B000000001", "US", Ask())
    assert found == CatalogItem("B000000001", "US", None)


async def test_what_is_not_understood_is_kept_with_its_reason_and_the_rest_goes_on(desk: Desk, line: Line) -> None:
    items = [
        {"asin": "B1", "summaries": summaries("One")},
        {"asin": "B2", "summaries": summaries("Two", packageQuantity="many")},
        {"asin": "B3", "summaries": summaries("Three", "Drei")},
        {"asin": "B4", "dimensions": [{"marketplaceId": US, "item": {"height": {"value": 2}}}]},
    ]
    line.answers.append(httpx.Response(200, json={"numberOfResults": 4, "items": items}))
    (page,) = [one async for one in catalog.pages_about(client_at(desk), "US", ["one"], Ask())]
    assert [one.asin for one in page.items] == ["B1"]
    assert page.expected == 4
    assert [(one.what, one.key) for one in page.rejected] == [("catalog", "B2"), ("catalog", "B3"), ("catalog", "B4")]
    reasons = [one.reason for one in page.rejected]
    assert reasons[0].startswith("summaries.0.packageQuantity: ")
    assert reasons[1] == "Summary of ATVPDKIKX0DER is told 2 times"
    assert reasons[2] == "dimensions.0.item.height.unit: Field required"


async def test_a_single_item_that_is_not_understood_is_no_item(desk: Desk, line: Line) -> None:
    line.answers.append(httpx.Response(200, json={"asin": "B3", "summaries": summaries("Three", "Drei")}))
    with pytest.raises(Transient, match="told 2 times"):
        await catalog.item(client_at(desk), "B3", "US", Ask())


async def test_measures_are_exact_and_keep_their_unit(desk: Desk, line: Line) -> None:
    text = '{"asin":"B1","dimensions":[{"marketplaceId":"%s","package":{"height":{"unit":"inches","value":%s}}}]}'
    line.answers.append(httpx.Response(200, text=text % (US, "10.49999998929000000001")))
    found = await catalog.item(client_at(desk), "B1", "US", Ask())
    assert found.package.height is not None
    assert (str(found.package.height.value), found.package.height.unit) == ("10.49999998929000000001", "inches")


async def test_too_many_identifiers_are_refused_before_anything_is_sent(desk: Desk, line: Line) -> None:
    client = client_at(desk)
    for ids, kind in ((["1"] * 21, "EAN"), ([], "EAN"), (["1"], "FNSKU"), (["1"], "SKU")):
        with pytest.raises(Invalid):
            catalog.pages_of(client, "US", ids, kind, Ask())
    with pytest.raises(Invalid):
        catalog.pages_about(client, "US", ["word"] * 21, Ask())
    assert line.calls == []


async def test_the_sandboxs_items_are_those_of_its_world(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await lift_plans(sandbox)
    client = client_at(open_desk(sandbox))
    skus = (await sandbox.get("world", limit=20))["skus"]
    pages = catalog.pages_of(client, "US", [one["ean"] for one in skus], "EAN", Ask())
    found = {one.asin: one for page in [page async for page in pages] for one in page.items}
    assert set(found) == {one["asin"] for one in skus}
    for one in skus:
        item = found[one["asin"]]
        assert item.title == one["title"]
        assert Identifier("EAN", one["ean"]) in item.identifiers
    first = await catalog.item(client, skus[0]["asin"], "US", Ask())
    assert first == found[skus[0]["asin"]]
    assert isinstance(first.package.weight, Measure)
    parent = await catalog.item(client, first.relations[0].parents[0], "US", Ask())
    assert first.asin in parent.relations[0].children
    with pytest.raises(NotFound):
        await catalog.item(client, "B000000000", "US", Ask())


async def test_a_search_by_words_is_read_to_its_end(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await lift_plans(sandbox)
    pages = [page async for page in catalog.pages_about(client_at(open_desk(sandbox)), "US", ["classic"], Ask())]
    asins = [one.asin for page in pages for one in page.items]
    assert len(pages) > 1
    assert len(asins) == len(set(asins)) == pages[0].expected
