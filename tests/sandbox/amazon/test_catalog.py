"""searchCatalogItems and getCatalogItem."""

import httpx
import pytest

from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.visit import FE, Seller, error
from sandbox.visit import world
from tests.sandbox.amazon.reads import CATALOG, lift_plans

ALL = "attributes,classifications,dimensions,identifiers,images,productTypes,relationships,salesRanks,summaries"
US, DE = MARKETPLACES["US"].id, MARKETPLACES["DE"].id


@pytest.fixture(autouse=True)
async def _plans(client: httpx.AsyncClient) -> None:
    await lift_plans(client)


async def test_an_item_is_the_product_of_the_world(client: httpx.AsyncClient, na: Seller) -> None:
    product = (await world(client))["skus"][4]
    item = (await na.get(f"{CATALOG}/{product['asin']}", marketplaceIds=US, includedData=ALL)).json()
    (summary,) = item["summaries"]
    assert (item["asin"], summary["itemName"]) == (product["asin"], product["title"])
    kinds = {one["identifierType"]: one["identifier"] for one in item["identifiers"][0]["identifiers"]}
    assert kinds == {"EAN": product["ean"], "GTIN": f"0{product['ean']}"}
    assert {one["unit"] for one in item["dimensions"][0]["package"].values()} == {"inches", "pounds"}


async def test_each_marketplace_speaks_its_language_and_measures_in_its_units(eu: Seller) -> None:
    found = (await eu.listings("DE", pageSize=1)).json()["items"][0]["summaries"][0]["asin"]
    ids = ",".join(MARKETPLACES[code].id for code in ("DE", "FR"))
    path = f"{CATALOG}/{found}"
    item = (await eu.get(path, marketplaceIds=ids, includedData="summaries,dimensions")).json()
    german, french = (one["itemName"] for one in item["summaries"])
    assert german != french
    assert {one["unit"] for part in item["dimensions"] for one in part["item"].values()} == {"centimeters", "kilograms"}
    asked = (await eu.get(path, marketplaceIds=DE, locale="fr_FR")).json()
    assert asked["summaries"][0]["itemName"] == french


async def test_variants_and_their_parent_name_each_other(client: httpx.AsyncClient, na: Seller) -> None:
    first, second = (one["asin"] for one in (await world(client))["skus"][:2])
    query = {"marketplaceIds": US, "includedData": "relationships,summaries"}
    relation = (await na.get(f"{CATALOG}/{first}", **query)).json()["relationships"][0]["relationships"][0]
    parent = (await na.get(f"{CATALOG}/{relation['parentAsins'][0]}", **query)).json()
    assert parent["summaries"][0]["itemClassification"] == "VARIATION_PARENT"
    assert {first, second} <= set(parent["relationships"][0]["relationships"][0]["childAsins"])
    assert relation["variationTheme"]["attributes"] == ["color", "size"]


async def test_identifiers_find_what_carries_them_and_miss_the_rest(client: httpx.AsyncClient, na: Seller) -> None:
    products = (await world(client))["skus"][:3]
    for kind, name in (("ASIN", "asin"), ("EAN", "ean"), ("SKU", "sku")):
        ids = ",".join([*(one[name] for one in products), "NOTHING"])
        query = {"marketplaceIds": US, "identifiers": ids, "identifiersType": kind, "sellerId": na.id}
        answer = (await na.get(CATALOG, **query)).json()
        assert answer["numberOfResults"] == 3, kind
        assert [one["asin"] for one in answer["items"]] == [one["asin"] for one in products], kind


async def test_a_search_by_words_pages_through_all_it_finds_and_counts_brands(na: Seller) -> None:
    query = {"marketplaceIds": US, "keywords": "hoodie", "pageSize": 7}
    seen: list[str] = []
    answer = (await na.get(CATALOG, **query)).json()
    count = answer["numberOfResults"]
    assert sum(one["numberOfResults"] for one in answer["refinements"]["brands"]) == count > 7
    while True:
        seen += [one["asin"] for one in answer["items"]]
        assert all("hoodie" in one["summaries"][0]["itemName"].casefold() for one in answer["items"])
        token = answer.get("pagination", {}).get("nextToken")
        if token is None:
            break
        answer = (await na.get(CATALOG, **query, pageToken=token)).json()
        assert "previousToken" in answer["pagination"]
    assert len(seen) == len(set(seen)) == count
    before = answer["pagination"]["previousToken"]
    assert (await na.get(CATALOG, **query, pageToken=before)).json()["items"]
    assert error(await na.get(CATALOG, **{**query, "keywords": "cap"}, pageToken=before)) == (400, "InvalidInput")


async def test_what_is_not_published_is_refused(client: httpx.AsyncClient, na: Seller, eu: Seller) -> None:
    asin = (await world(client))["skus"][0]["asin"]
    assert error(await na.get(f"{CATALOG}/B000000000", marketplaceIds=US)) == (404, "NotFound")
    assert error(await eu.get(f"{CATALOG}/{asin}", marketplaceIds=DE)) == (404, "NotFound")
    assert error(await na.get(f"{CATALOG}/{asin}", marketplaceIds=DE)) == (403, "Unauthorized")
    assert error(await na.get(f"{CATALOG}/{asin}", marketplaceIds=US, locale="xx_XX")) == (400, "InvalidInput")
    for query in (
        {},
        {"keywords": "cap", "identifiers": asin, "identifiersType": "ASIN"},
        {"identifiers": asin},
        {"identifiers": ",".join("ABCDEFGHIJKLMNOPQRSTU"), "identifiersType": "ASIN"},
        {"identifiers": "X", "identifiersType": "SKU"},
        {"keywords": "cap", "pageSize": 21},
    ):
        assert error(await na.get(CATALOG, marketplaceIds=US, **query)) == (400, "InvalidInput"), query
    fe = await Seller.login(client, FE)
    assert (await fe.get(CATALOG, marketplaceIds=MARKETPLACES["JP"].id, keywords="バッグ")).json()["numberOfResults"]
