"""Bulk operations of the sandbox: published rules and codes, states over its own time, one line per object."""

from typing import Any

import orjson
import pytest

STOCK = """{ inventoryItems { edges { node {
  id sku inventoryLevels { edges { node { id location { id } quantities(names: ["available"]) { name quantity } } } }
} } } }"""
RUN = """mutation Run($query: String!) { bulkOperationRunQuery(query: $query) {
  bulkOperation { id status } userErrors { code field message } } }"""
RUN_MUTATION = """mutation Run($mutation: String!, $path: String!) {
  bulkOperationRunMutation(mutation: $mutation, stagedUploadPath: $path) {
    bulkOperation { id status } userErrors { code field message } } }"""
LOOK = """query Look($id: ID!) { bulkOperation(id: $id) {
  id type status errorCode objectCount rootObjectCount fileSize url partialDataUrl query createdAt completedAt } }"""
STAGE = """mutation Stage { stagedUploadsCreate(input: [
  {resource: BULK_MUTATION_VARIABLES, filename: "rows.jsonl", mimeType: "text/jsonl", httpMethod: POST}]) {
    stagedTargets { url resourceUrl parameters { name value } } userErrors { field message } } }"""
PRICES = """mutation Prices($productId: ID!, $variants: [ProductVariantsBulkInput!]!) {
  productVariantsBulkUpdate(productId: $productId, variants: $variants) {
    productVariants { id price } userErrors { code field message } } }"""


async def begun(shop: Any, query: str = STOCK) -> str:
    payload = (await shop.data(RUN, {"query": query}))["bulkOperationRunQuery"]
    assert payload["userErrors"] == []
    return str(payload["bulkOperation"]["id"])


async def seen(shop: Any, gid: str, after_s: float = 0) -> dict[str, Any]:
    await shop.control("clock", {"advance": after_s})
    operation: dict[str, Any] = (await shop.data(LOOK, {"id": gid}))["bulkOperation"]
    return operation


async def lines(shop: Any, url: str) -> list[dict[str, Any]]:
    answer = await shop.http.get(url)
    assert answer.status_code == 200
    return [orjson.loads(line) for line in answer.content.splitlines()]


async def refused(shop: Any, query: str) -> str:
    payload = (await shop.data(RUN, {"query": query}))["bulkOperationRunQuery"]
    assert payload["bulkOperation"] is None
    (problem,) = payload["userErrors"]
    assert problem["code"] == "INVALID"
    return str(problem["message"])


async def staged(shop: Any, content: bytes, *, file_last: bool = True) -> tuple[int, str]:
    """The status of an upload, and its path."""
    (target,) = (await shop.data(STAGE))["stagedUploadsCreate"]["stagedTargets"]
    fields = {one["name"]: one["value"] for one in target["parameters"]}
    if file_last:
        answer = await shop.http.post(target["url"], data=fields, files={"file": ("rows.jsonl", content)})
    else:
        parts = {"file": ("rows.jsonl", content), **{name: (None, value) for name, value in fields.items()}}
        answer = await shop.http.post(target["url"], files=parts)
    return answer.status_code, fields["key"]


async def test_a_query_passes_its_states_in_the_sandbox_s_time_and_leaves_one_line_per_object(shop: Any) -> None:
    await shop.control("bulk", {"createdSeconds": 2, "runSeconds": 3})
    gid = await begun(shop)
    assert (await seen(shop, gid))["status"] == "CREATED"
    running = await seen(shop, gid, 2)
    assert (running["status"], running["url"], running["completedAt"]) == ("RUNNING", None, None)
    done = await seen(shop, gid, 3)
    assert (done["status"], done["type"], done["errorCode"]) == ("COMPLETED", "QUERY", None)
    found = await lines(shop, done["url"])
    roots = [row for row in found if "__parentId" not in row]
    assert len(roots) == int(done["rootObjectCount"]) == 60
    assert len(found) == int(done["objectCount"]) > 60
    assert {row["__parentId"] for row in found if "__parentId" in row} == {row["id"] for row in roots}
    direct = (await shop.data("{ inventoryItems(first: 1) { nodes { id sku } } }"))["inventoryItems"]["nodes"][0]
    assert direct == {name: found[0][name] for name in ("id", "sku")} == found[0]


async def test_inner_rows_come_behind_all_that_they_may_belong_to_or_right_behind_it_when_grouped(shop: Any) -> None:
    gid = await begun(shop)
    flat = await lines(shop, (await seen(shop, gid, 1))["url"])
    owned = ["__parentId" in row for row in flat]
    assert owned == sorted(owned)
    grouped = RUN.replace("query: $query", "query: $query, groupObjects: true")
    payload = (await shop.data(grouped, {"query": STOCK}))["bulkOperationRunQuery"]
    rows = await lines(shop, (await seen(shop, payload["bulkOperation"]["id"], 1))["url"])
    assert rows[1]["__parentId"] == rows[0]["id"]
    assert sorted(map(str, rows)) == sorted(map(str, flat))


async def test_an_empty_result_has_no_address(shop: Any) -> None:
    gid = await begun(shop, "{ productVariants(query: \"sku:'NONE'\") { edges { node { id } } } }")
    done = await seen(shop, gid, 1)
    assert (done["status"], done["objectCount"], done["url"], done["fileSize"]) == ("COMPLETED", "0", None, None)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{ shop { name } }", "at least one connection"),
        ("{ inventoryItems(first: 5) { nodes { id } } }", "edges"),
        ("{ nodes(ids: []) { id } inventoryItems { edges { node { id } } } }", "top-level"),
        ("{ inventoryItems { edges { node { sku inventoryLevels { edges { node { id } } } } } } }", "`id`"),
        (
            "{ orders { edges { node { id fulfillments { id fulfillmentLineItems { edges { node { id } } } } } } } }",
            "list",
        ),
        (
            "{ " + " ".join(f"a{n}: productVariants {{ edges {{ node {{ id }} }} }}" for n in range(6)) + " }",
            "more than 5",
        ),
        ("query Q($q: String) { productVariants(query: $q) { edges { node { id } } } }", "variables"),
        ("{ productVariants { edges { node { idd } } } }", "idd"),
    ],
)
async def test_a_document_that_breaks_a_published_rule_is_refused(shop: Any, query: str, words: str) -> None:
    assert words in await refused(shop, query)


async def test_the_sixth_query_is_refused_and_a_canceled_one_frees_its_place(shop: Any) -> None:
    running = [await begun(shop) for _ in range(5)]
    payload = (await shop.data(RUN, {"query": STOCK}))["bulkOperationRunQuery"]
    (problem,) = payload["userErrors"]
    assert (problem["code"], problem["field"]) == ("OPERATION_IN_PROGRESS", None)
    assert running[0] in problem["message"]
    cancel = """mutation Cancel($id: ID!) { bulkOperationCancel(id: $id) {
      bulkOperation { id status } userErrors { field message } } }"""
    canceled = (await shop.data(cancel, {"id": running[0]}))["bulkOperationCancel"]
    assert (canceled["bulkOperation"]["status"], canceled["userErrors"]) == ("CANCELING", [])
    assert (await seen(shop, running[0]))["status"] == "CANCELED"
    await begun(shop)
    again = (await shop.data(cancel, {"id": running[0]}))["bulkOperationCancel"]
    assert "canceled" in again["userErrors"][0]["message"]


async def test_operations_are_found_by_status_and_type_the_newest_first(shop: Any) -> None:
    first = await begun(shop)
    await seen(shop, first, 1)
    second, third = await begun(shop), await begun(shop)
    found = """query Find($query: String) { bulkOperations(first: 10, query: $query) { nodes { id query } } }"""

    async def ids(query: str | None) -> list[str]:
        return [one["id"] for one in (await shop.data(found, {"query": query}))["bulkOperations"]["nodes"]]

    assert await ids(None) == [third, second, first]
    assert await ids("status:completed") == [first]
    assert await ids("status:created OR status:running") == [third, second]
    assert await ids("operation_type:mutation") == []


async def test_one_that_is_to_fail_tells_its_code_and_the_part_that_it_has(shop: Any) -> None:
    await shop.control("bulk", {"endings": [{"errorCode": "TIMEOUT", "share": 0.5}]})
    failed = await seen(shop, await begun(shop), 1)
    assert (failed["status"], failed["errorCode"], failed["url"]) == ("FAILED", "TIMEOUT", None)
    part = await lines(shop, failed["partialDataUrl"])
    whole = await lines(shop, (await seen(shop, await begun(shop), 1))["url"])
    assert part == whole[: len(whole) // 2]


async def test_an_address_that_has_died_is_given_anew(shop: Any) -> None:
    gid = await begun(shop)
    old = (await seen(shop, gid, 1))["url"]
    await shop.control("bulk", {"forgetAddresses": True})
    assert (await shop.http.get(old)).status_code == 403
    assert await lines(shop, (await seen(shop, gid))["url"])


async def test_what_a_token_may_not_read_ends_as_access_denied(shop: Any) -> None:
    await shop.control("tokens", {"token": "shpat_few", "scopes": ["read_orders"]})
    answer = await shop.ask(RUN, {"query": STOCK}, token="shpat_few")
    gid = answer["data"]["bulkOperationRunQuery"]["bulkOperation"]["id"]
    failed = await seen(shop, gid, 1)
    assert (failed["status"], failed["errorCode"]) == ("FAILED", "ACCESS_DENIED")


async def test_each_row_of_a_mutation_has_an_answer_of_its_own(shop: Any) -> None:
    nodes = (await shop.data("{ productVariants(first: 1) { nodes { id product { id } } } }"))["productVariants"][
        "nodes"
    ]
    product, variant = nodes[0]["product"]["id"], nodes[0]["id"]
    rows = [
        {"productId": product, "variants": [{"id": variant, "price": "12.50"}]},
        {"productId": product, "variants": [{"id": variant, "price": "-1"}]},
        {"productId": product},
    ]
    status, path = await staged(shop, b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert status == 201
    payload = (await shop.data(RUN_MUTATION, {"mutation": PRICES, "path": path}))["bulkOperationRunMutation"]
    assert payload["userErrors"] == []
    done = await seen(shop, payload["bulkOperation"]["id"], 1)
    assert (done["status"], done["type"]) == ("COMPLETED", "MUTATION")
    good, refused, malformed = sorted(await lines(shop, done["url"]), key=lambda row: row["__lineNumber"])
    assert good["data"]["productVariantsBulkUpdate"]["productVariants"] == [{"id": variant, "price": "12.50"}]
    assert refused["data"]["productVariantsBulkUpdate"]["userErrors"][0]["code"] == "GREATER_THAN_OR_EQUAL_TO"
    assert malformed["errors"][0]["extensions"]["code"] == "INVALID_VARIABLE"
    assert len(await shop.effects()) == 1


async def test_an_upload_wants_its_fields_as_given_and_the_file_last(shop: Any) -> None:
    assert (await staged(shop, b"{}", file_last=False))[0] == 400
    (target,) = (await shop.data(STAGE))["stagedUploadsCreate"]["stagedTargets"]
    fields = {one["name"]: one["value"] for one in target["parameters"]} | {"policy": "another"}
    answer = await shop.http.post(target["url"], data=fields, files={"file": ("rows.jsonl", b"{}")})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("mutation", "content", "code"),
    [
        (PRICES, None, "NO_SUCH_FILE"),
        (PRICES, b"\n", "INVALID_STAGED_UPLOAD_FILE"),
        ("mutation {", b"{}", "INVALID_MUTATION"),
        (RUN, b"{}", "INVALID_MUTATION"),
    ],
)
async def test_a_start_is_refused_with_the_published_code(
    shop: Any, mutation: str, content: bytes | None, code: str
) -> None:
    path = "tmp/none" if content is None else (await staged(shop, content))[1]
    payload = (await shop.data(RUN_MUTATION, {"mutation": mutation, "path": path}))["bulkOperationRunMutation"]
    assert [problem["code"] for problem in payload["userErrors"]] == [code]
