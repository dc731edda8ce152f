"""Keys and scopes: every restricted field meets every kind of key, and what is refused is not executed."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import auth
from gateway.auth import FAILURES, Keys, hash_secret, new_secret
from gateway.body import BadRequest
from gateway.plan import Plans, Rejected
from resolvers.context import Caller
from resolvers.forecast import READS
from schema.root import schema as public_schema
from schema.scopes import ALL, NODE_SCOPES, SCOPES
from store import api_key
from store.session import Store
from tests.gateway import sample
from tests.gateway.conftest import Gateway, until

GRAPHQL = "application/graphql-response+json"


async def make_key(store: Store, *scopes: str, expires_at: datetime | None = None) -> tuple[str, str]:
    """(secret, id) of a new key."""
    secret, id = new_secret(), uuid4().hex
    async with store.begin() as tx:
        await api_key.create(tx, id, "client", hash_secret(secret), scopes, expires_at)
    return secret, id


def test_a_key_has_256_random_bits_and_is_kept_as_its_hash() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"acorn_[A-Za-z0-9_-]{43}", secret) for secret in secrets)
    assert hash_secret("acorn_x") == "554e64d1745612e1f7c62f7e12e20452a8b521c1700561ed1fd7a0a1c81b92de"


async def test_no_key_and_no_good_key_are_a_401(gateway: Gateway) -> None:
    for authorization in (None, "Bearer", "Basic abc", "acorn_x", "Bearer " + "x" * 300, "Bearer acorn_unknown"):
        headers = {"content-type": "application/json"} | (
            {} if authorization is None else {"authorization": authorization}
        )
        answer = await gateway.http.post("/graphql", json={"query": "mutation { ship }"}, headers=headers)
        assert answer.status_code == 401, authorization
        invalid = ', error="invalid_token"' if authorization == "Bearer acorn_unknown" else ""
        assert answer.headers["www-authenticate"] == f'Bearer realm="acorn"{invalid}'
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert "shipped" not in sample.STEPS
    assert (await gateway.ask("mutation { ship }", "ship")).json() == {"data": {"ship": "shipped"}}
    sample.STEPS.clear()


async def test_the_schema_is_told_to_whoever_may_read_it_and_to_nobody_else(gateway: Gateway) -> None:
    for query, told in (("{ __schema { queryType { name } } }", "queryType"), ("{ hullo }", "Did you mean 'hello'")):
        assert told not in (await gateway.ask(query, "read")).text
        for scope in ("schema:read", "admin"):
            assert told in (await gateway.ask(query, scope)).text


async def test_a_missing_scope_is_named_and_nothing_is_executed(gateway: Gateway) -> None:
    for query in ("mutation { ship }", "mutation ($on: Boolean! = false) { ship @include(if: $on) }"):
        strict = await gateway.ask(query, "read", accept=GRAPHQL)
        old = await gateway.ask(query, "read")
        assert (strict.status_code, old.status_code) == (403, 200)
        assert "data" not in old.json()
        [error] = old.json()["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert error["message"] == "Mutation.ship needs the scope ship, which this key lacks. Nothing was executed."
    assert "shipped" not in sample.STEPS


@pytest.mark.parametrize(
    "query",
    [
        "{ branches(first: 1) { nodes { secret } } }",
        "{ branches(first: 1) { nodes { child { child { name: secret } } } } }",
        "{ ...A } fragment A on Query { branches(first: 1) { nodes { ...B } } } fragment B on Leaf { secret }",
        "{ branches(first: 1) { nodes { ... { ... on Leaf { secret } } } } }",
    ],
)
async def test_a_restricted_field_is_found_wherever_it_hides(gateway: Gateway, query: str) -> None:
    refused = (await gateway.ask(query, "read")).json()
    assert [one["extensions"]["code"] for one in refused["errors"]] == ["FORBIDDEN"]
    assert "data" not in refused
    assert "known to few" in (await gateway.ask(query, "admin")).text


DOCUMENTS = {
    "Query.__schema": "{ __schema { queryType { name } } }",
    "Query.__type": '{ __type(name: "Query") { name } }',
    "Query.node": '{ node(id: "Product:A") { id } }',
    "Query.stock": '{ stock(skus: ["A"]) { sku } }',
    "Query.product": '{ product(sku: "A") { sku } }',
    "Query.products": "{ products { nodes { sku } } }",
    "Query.order": '{ order(id: "Order:A") { id } }',
    "Query.orders": "{ orders { nodes { id } } }",
    "Query.trackingProblems": "{ trackingProblems { nodes { id } } }",
    "Query.operation": '{ operation(id: "Operation:A") { id } }',
    "Query.operations": "{ operations { nodes { id } } }",
    "Query.channels": "{ channels { name } }",
    "Query.budgets": "{ budgets { operation } }",
    "Query.stockEntries": "{ stockEntries { nodes { id } } }",
    "Query.stockRules": "{ stockRules { name } }",
    "Query.sourcingRules": "{ sourcingRules { version } }",
    "Query.previewSourcingRules": "{ previewSourcingRules(input: {goals: [COST]}) { moved } }",
    "Query.priceRules": "{ priceRules { version } }",
    "Query.priceRuleVersions": "{ priceRuleVersions { version } }",
    "Query.previewPriceRules": "{ previewPriceRules { nodes { words } } }",
    "Query.explainPrice": '{ explainPrice(listingId: "Listing:1") { words } }',
    "Mutation.setPriceRules": "mutation { setPriceRules(input: {version: 7, rules: []}) { userErrors { code } } }",
    "Mutation.applyPriceRules": "mutation { applyPriceRules { userErrors { code } } }",
    "Query.unitCosts": '{ unitCosts(skus: ["A"]) { sku } }',
    "Query.priceInputs": '{ priceInputs(skus: ["A"]) { available } }',
    "Query.priceGuards": "{ priceGuards { version } }",
    "Query.priceGuardVersions": "{ priceGuardVersions { version } }",
    "Mutation.setUnitCosts": "mutation { setUnitCosts(input: {costs: []}) { userErrors { code } } }",
    "Mutation.setPriceGuards": "mutation { setPriceGuards(input: {version: 7, guards: []}) { userErrors { code } } }",
    "Mutation.setSourcingRules": "mutation { setSourcingRules { userErrors { code } } }",
    "Mutation.moveFulfillment": (
        'mutation { moveFulfillment(input: {id: "x", toLocation: "y"}) { userErrors { code } } }'
    ),
    "FulfillmentOrder.order": '{ order(id: "Order:A") { fulfillments { order { id } } } }',
    "SourcingMove.order": "{ previewSourcingRules(input: {goals: [COST]}) { samples { order { id } } } }",
    "Query.previewStockRule": '{ previewStockRule(removeId: "A") { changed } }',
    "Query.kits": "{ kits { nodes { sku } } }",
    "Query.mappingTasks": "{ mappingTasks { nodes { id } } }",
    "Query.stockDrift": "{ stockDrift { nodes { sku } } }",
    "Query.oversales": "{ oversales { nodes { sku } } }",
    "Query.priceDrift": "{ priceDrift { nodes { since } } }",
    "Query.priceHistory": '{ priceHistory(sku: "A") { nodes { at } } }',
    "Query.orderDifferences": "{ orderDifferences { nodes { externalId } } }",
    "Query.orderComparisons": "{ orderComparisons { day } }",
    "OrderDifference.order": "{ orderDifferences { nodes { order { id } } } }",
    "Query.ledgerCheck": "{ ledgerCheck { at } }",
    "Query.settlements": "{ settlements { nodes { id } } }",
    "Query.profit": (
        '{ profit(filter: {from: "2026-11-01T00:00:00Z", to: "2026-12-01T00:00:00Z"}, groupBy: [SKU]) { units } }'
    ),
    "Query.profitChanges": (
        '{ profitChanges(filter: {from: "2026-11-01T00:00:00Z", to: "2026-12-01T00:00:00Z"}, since: "2026-11-02T00:00:00Z") '
        "{ words } }"
    ),
    "Query.journal": '{ journal(from: "2026-11-01", to: "2026-11-30") { digest } }',
    "Query.journals": "{ journals { nodes { number } } }",
    "Query.journalDocument": "{ journalDocument(number: 1, layout: CSV) { url } }",
    "Query.bankLines": "{ bankLines { nodes { id } } }",
    "Query.unmatchedPayouts": "{ unmatchedPayouts { nodes { paidAt } } }",
    "Mutation.closeJournal": (
        'mutation { closeJournal(input: {from: "2026-11-01", to: "2026-11-30"}) { userErrors { code } } }'
    ),
    "Mutation.matchBankLine": (
        'mutation { matchBankLine(input: {bankLineId: "x", noPayout: true, reason: "x"}) { userErrors { code } } }'
    ),
    "Query.residuals": "{ residuals { nodes { since } } }",
    "Query.residualSummary": "{ residualSummary { lines } }",
    "Query.missingSettlements": "{ missingSettlements { startsAt } }",
    "Query.settlementFiles": "{ settlementFiles { nodes { id } } }",
    "Query.unclassifiedMoney": "{ unclassifiedMoney { lines } }",
    "Query.classifiedMoney": "{ classifiedMoney { kind } }",
    "Mutation.classifyMoney": (
        'mutation { classifyMoney(input: {wording: REST, kind: "x", event: ACCOUNT, class: ADVERTISING, reason: "x"}) '
        "{ userErrors { code } } }"
    ),
    "Mutation.retrySettlementFile": 'mutation { retrySettlementFile(id: "x") { userErrors { code } } }',
    "Mutation.assignResidual": (
        'mutation { assignResidual(input: {lineId: "x", account: true, reason: "x"}) { userErrors { code } } }'
    ),
    "Order.moneyLines": '{ order(id: "Order:A") { moneyLines { id } } }',
    "MoneyLine.order": "{ residuals { nodes { line { order { id } } } } }",
    "MoneyLine.orderLine": "{ residuals { nodes { line { orderLine { id } } } } }",
    "Query.apiCalls": "{ apiCalls { nodes { id } } }",
    "Query.webhookEndpoints": "{ webhookEndpoints { id } }",
    "Query.webhookEndpoint": '{ webhookEndpoint(id: "A") { id } }',
    "Query._entities": '{ _entities(representations: [{__typename: "Product", sku: "A"}]) { __typename } }',
    "Query._service": "{ _service { sdl } }",
    "Mutation.shipFromFba": "mutation { shipFromFba(input: {orders: []}) { userErrors { code } } }",
    "Mutation.cancelOutbound": "mutation { cancelOutbound(input: {ids: []}) { userErrors { code } } }",
    "Mutation.returnOutbound": 'mutation { returnOutbound(input: {orderId: "x", reason: "x"}) { userErrors { code } } }',
    "Query.orderQueue": "{ orderQueue { nodes { minutesLeft } } }",
    "Query.holdRules": "{ holdRules { name } }",
    "Mutation.holdOrders": (
        'mutation { holdOrders(input: {orderIds: [], reason: OTHER, words: "x"}) { userErrors { code } } }'
    ),
    "Mutation.releaseOrders": "mutation { releaseOrders(input: {orderIds: []}) { userErrors { code } } }",
    "Mutation.approveOrders": "mutation { approveOrders(input: {orderIds: []}) { userErrors { code } } }",
    "Mutation.setHoldRule": (
        'mutation { setHoldRule(input: {name: "x", reason: OTHER, words: "x"}) { userErrors { code } } }'
    ),
    "Mutation.removeHoldRule": 'mutation { removeHoldRule(name: "x") { userErrors { code } } }',
    "Mutation.cancelOrders": "mutation { cancelOrders(input: {orders: []}) { userErrors { code } } }",
    "Mutation.refundOrders": "mutation { refundOrders(input: {refunds: []}) { userErrors { code } } }",
    "Query.labelOffers": (
        '{ labelOffers(package: {orderId: "Order:A", box: {lengthCm: "1", widthCm: "1", heightCm: "1", weightG: "1"}}) '
        "{ serviceId } }"
    ),
    "Mutation.buyLabels": "mutation { buyLabels(input: {packages: []}) { userErrors { code } } }",
    "Mutation.voidLabels": "mutation { voidLabels(input: {labelIds: []}) { userErrors { code } } }",
    "Query.returnChains": "{ returnChains { totalCount } }",
    "Mutation.restockReturn": (
        'mutation { restockReturn(input: {orderId: "A", lines: [], reason: "x"}) { userErrors { code } } }'
    ),
    "Mutation.adjustStock": 'mutation { adjustStock(input: {adjustments: [], reason: "x"}) { userErrors { code } } }',
    "Mutation.reserveStock": "mutation { reserveStock(input: {lines: []}) { userErrors { code } } }",
    "Mutation.commitReservation": 'mutation { commitReservation(id: "A") { userErrors { code } } }',
    "Mutation.releaseReservation": 'mutation { releaseReservation(id: "A") { userErrors { code } } }',
    "Mutation.setStockRule": (
        'mutation { setStockRule(input: {name: "x", kind: SAFETY_STOCK, units: 1}) { userErrors { code } } }'
    ),
    "Mutation.removeStockRule": 'mutation { removeStockRule(id: "A") { userErrors { code } } }',
    "Mutation.answerMappingTask": 'mutation { answerMappingTask(input: {id: "A", value: "x"}) { userErrors { code } } }',
    "Mutation.ignoreMappingTask": 'mutation { ignoreMappingTask(id: "A") { userErrors { code } } }',
    "Mutation.setKit": 'mutation { setKit(input: {sku: "A", components: []}) { userErrors { code } } }',
    "Mutation.syncNow": 'mutation { syncNow(input: {channelId: "Channel:A", streams: ["orders"]}) { operation { id } } }',
    "Mutation.backfillOrders": """mutation { backfillOrders(
        input: {channelId: "Channel:A", from: "2026-01-01T00:00:00Z", to: "2026-02-01T00:00:00Z"}
    ) { operation { id } } }""",
    "Mutation.requestReport": """mutation { requestReport(
        input: {channelId: "Channel:A", reportType: "R"}
    ) { operation { id } } }""",
    "Mutation.requestExport": "mutation { requestExport(input: {list: MONEY_LINES}) { operation { id } } }",
    "Mutation.pauseStreams": 'mutation { pauseStreams(input: {}, reason: "R") { streams { name } } }',
    "Mutation.resumeStreams": "mutation { resumeStreams(input: {}) { streams { name } } }",
    "Mutation.checkLedger": "mutation { checkLedger { userErrors { code } } }",
    "Mutation.revertOperation": 'mutation { revertOperation(id: "A") { userErrors { code } } }',
    "Mutation.confirmShipments": "mutation { confirmShipments(input: {shipments: []}) { userErrors { code } } }",
    "Mutation.updatePrices": "mutation { updatePrices(input: {prices: []}) { userErrors { code } } }",
    "Mutation.approveOperation": 'mutation { approveOperation(id: "A") { userErrors { code } } }',
    "Mutation.cancelOperation": 'mutation { cancelOperation(id: "A") { userErrors { code } } }',
    "Mutation.retryOperation": 'mutation { retryOperation(id: "A") { userErrors { code } } }',
    "Mutation.createWebhook": 'mutation { createWebhook(input: {url: "x", events: []}) { userErrors { code } } }',
    "Mutation.updateWebhook": 'mutation { updateWebhook(id: "A", input: {}) { userErrors { code } } }',
    "Mutation.deleteWebhook": 'mutation { deleteWebhook(id: "A") { userErrors { code } } }',
    "Mutation.rotateWebhookSecret": 'mutation { rotateWebhookSecret(id: "A") { userErrors { code } } }',
    "Mutation.replayWebhook": 'mutation { replayWebhook(id: "A") { userErrors { code } } }',
    "Mutation.redeliverWebhook": 'mutation { redeliverWebhook(deliveryId: "A") { userErrors { code } } }',
    "Mutation.testWebhook": 'mutation { testWebhook(id: "A") { userErrors { code } } }',
    "Subscription.operation": 'subscription { operation(id: "A") { cursor } }',
    "Subscription.orders": "subscription { orders { cursor } }",
    "Subscription.stock": 'subscription { stock(skus: ["A"]) { cursor } }',
    "Product.unitCost": '{ product(sku: "A") { unitCost { amount } } }',
    "Product.stock": '{ product(sku: "A") { stock { sku } } }',
    "Stock.exposure": '{ stock(skus: ["A"]) { exposure { beyond } } }',
    "ChannelStock.lastError": '{ stock(skus: ["A"]) { channels { lastError } } }',
    "Kit.product": "{ kits { nodes { product { sku } } } }",
    "Order.apiCalls": '{ order(id: "Order:A") { apiCalls { id } } }',
    "OrderStep.apiCalls": '{ order(id: "Order:A") { timeline { apiCalls { id } } } }',
    "OperationItem.apiCalls": '{ operation(id: "Operation:A") { items { nodes { apiCalls { id } } } } }',
    "PriceChange.margin": '{ operation(id: "Operation:A") { items { nodes { price { margin { amount } } } } } }',
    "PriceChange.marginPercent": '{ operation(id: "Operation:A") { items { nodes { price { marginPercent } } } } }',
    "Oversale.order": "{ oversales { nodes { order { id } } } }",
    "Listing.priceAt": '{ product(sku: "A") { listings { priceAt { since } } } }',
    "PriceEvent.rules": '{ priceHistory(sku: "A") { nodes { rules } } }',
    "PriceDrift.message": "{ priceDrift { nodes { message } } }",
    "PriceDrift.listing": "{ priceDrift { nodes { listing { id } } } }",
    "Stock.product": '{ stock(skus: ["A"]) { product { sku } } }',
    "OrderLine.product": '{ order(id: "Order:A") { lines { product { sku } } } }',
    "Channel.healthy": "{ channels { healthy } }",
    "Channel.ailments": "{ channels { ailments } }",
    "Channel.streams": "{ channels { streams { name } } }",
    "Channel.stockLag": "{ channels { stockLag { p95Seconds } } }",
    "Channel.driftCounts": "{ channels { driftCounts { kind } } }",
    "Channel.budgets": "{ channels { budgets { operation } } }",
}


def test_the_matrix_covers_every_restricted_field() -> None:
    assert set(DOCUMENTS) == set(SCOPES)


@pytest.mark.parametrize("coordinate", sorted(DOCUMENTS))
def test_every_restricted_field_meets_every_kind_of_key(coordinate: str) -> None:
    plans = Plans(public_schema._schema, SCOPES)
    plan = plans.of(DOCUMENTS[coordinate], None)
    assert coordinate in {name for name, _ in plan.needs}
    others = {name: scopes for name, scopes in plan.needs if name != coordinate}
    for scope in [*sorted(ALL), "nonsense"]:
        held = frozenset({scope} if not others else {scope, *(min(scopes - {"admin"}) for scopes in others.values())})
        if held & SCOPES[coordinate]:
            plan.admit(Caller("key", held), {})
        else:
            with pytest.raises(Rejected) as caught:
                plan.admit(Caller("key", held), {})
            assert caught.value.status == 403


def test_a_storefront_key_reads_stock_and_products_only() -> None:
    storefront = Caller("shop", frozenset({"stock:read", "catalog:read"}))
    plans = Plans(public_schema._schema, SCOPES)
    opened = set()
    for coordinate, document in DOCUMENTS.items():
        try:
            plans.of(document, None).admit(storefront, {})
        except Rejected:
            continue
        opened.add(coordinate)
    assert opened == {
        "Query._entities",
        "Query.node",
        "Query.stock",
        "Query.product",
        "Query.products",
        "Query.kits",
        "Kit.product",
        "Product.stock",
        "Stock.product",
        "Subscription.stock",
    }


def test_money_opens_to_no_key_without_a_scope_for_it() -> None:
    """A key that may do all else, as an operator's, opens no field that reads what money moved."""
    tables = {"settlement", "money_line", "money_word", "finance_file", "journal", "bank_line"}
    money = {name for name, read in READS.items() if tables & set(read)} - {"Query.node"}
    assert {"Query.settlements", "Query.residuals", "Query.profit", "Mutation.assignResidual"} <= money
    operator = Caller("operator", ALL - {"finance:read", "finance:write", "admin"})
    plans = Plans(public_schema._schema, SCOPES)
    for coordinate in sorted({*money, "Order.moneyLines"}):
        with pytest.raises(Rejected):
            plans.of(DOCUMENTS[coordinate], None).admit(operator, {})
    assert {kind for kind in ("Settlement", "MoneyLine") if NODE_SCOPES[kind] & operator.scopes} == set()


async def test_a_revoked_key_opens_nothing_once_it_is_no_longer_believed(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(store, redis)
    secret, id = await make_key(store, "stock:read")
    assert await keys.caller(f"Bearer {secret}", "10.0.0.1") == Caller("client", frozenset({"stock:read"}))
    async with store.begin() as tx:
        assert await api_key.revoke(tx, id)
    assert (await keys.caller(f"Bearer {secret}", "10.0.0.1")).name == "client"
    assert not await keys.still_valid(f"Bearer {secret}")
    monkeypatch.setattr(auth, "KEPT_S", 0.0)
    keys._known.clear()
    with pytest.raises(BadRequest) as caught:
        await keys.caller(f"Bearer {secret}", "10.0.0.1")
    assert caught.value.status == 401


async def test_a_key_that_has_run_out_opens_nothing_even_while_it_is_believed(store: Store, redis: Redis) -> None:
    keys = Keys(store, redis)
    secret, _ = await make_key(store, "read", expires_at=datetime.now(UTC) + timedelta(seconds=3))
    assert (await keys.caller(f"Bearer {secret}", "10.0.0.1")).name == "client"
    assert keys.known(f"Bearer {secret}") is not None
    await until(lambda: keys.known(f"Bearer {secret}") is None)
    with pytest.raises(BadRequest, match="expired"):
        await keys.caller(f"Bearer {secret}", "10.0.0.1")


async def test_of_a_crowd_with_one_key_one_looks_and_each_is_told(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    look = api_key.by_hash

    async def by_hash(tx: AsyncConnection, hash: str) -> api_key.ApiKey | None:
        looks.append(hash)
        return await look(tx, hash)

    monkeypatch.setattr(api_key, "by_hash", by_hash)
    secret, _ = await make_key(store, "read")
    keys = Keys(store, redis)
    crowd = await asyncio.gather(*(keys.caller(f"Bearer {secret}", "10.0.0.1") for _ in range(50)))
    assert [one.name for one in crowd] == ["client"] * 50
    assert len(looks) == 1
    bad = (keys.caller("Bearer acorn_unknown", "10.0.0.2") for _ in range(10))
    told = await asyncio.gather(*bad, return_exceptions=True)
    assert [getattr(one, "status", None) for one in told] == [401] * 10


async def test_an_address_that_guesses_is_stopped_and_others_are_not(store: Store, redis: Redis) -> None:
    keys = Keys(store, redis)
    secret, _ = await make_key(store, "read")
    for _ in range(FAILURES):
        with pytest.raises(BadRequest, match="unknown"):
            await keys.caller("Bearer acorn_guess", "2001:db8::1")
    for address in ("2001:db8::1", "2001:db8::ffff"):
        with pytest.raises(BadRequest) as caught:
            await keys.caller("Bearer acorn_guess", address)
        assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "60")
    # A good key behind that very address, never seen before.
    assert (await keys.caller(f"Bearer {secret}", "2001:db8::1")).name == "client"


@pytest.mark.parametrize("other", ["::ffff:203.0.113.8", "203.0.113.8"])
async def test_ipv4_clients_of_a_socket_of_both_kinds_are_counted_one_by_one(
    store: Store, redis: Redis, other: str
) -> None:
    keys = Keys(store, redis)
    for _ in range(FAILURES):
        with pytest.raises(BadRequest, match="unknown"):
            await keys.caller("Bearer acorn_guess", "::ffff:203.0.113.7")
    told = []
    for address in ("::ffff:203.0.113.7", "203.0.113.7", other):
        with pytest.raises(BadRequest) as caught:
            await keys.caller("Bearer acorn_guess", address)
        told.append(caught.value.status)
    assert told == [429, 429, 401]


async def test_without_redis_keys_are_still_looked_up(store: Store) -> None:
    away: Redis = Redis(host="127.0.0.1", port=9, socket_connect_timeout=0.2)
    keys = Keys(store, away)
    secret, _ = await make_key(store, "read")
    assert (await keys.caller(f"Bearer {secret}", "10.0.0.1")).name == "client"
    with pytest.raises(BadRequest, match="unknown"):
        await keys.caller("Bearer acorn_guess", "10.0.0.1")
    await away.aclose()


async def test_a_redis_that_hangs_holds_nobody_up(store: Store, hanging_redis: Redis) -> None:
    keys = Keys(store, hanging_redis)
    async with asyncio.timeout(30):
        for _ in range(20):
            with pytest.raises(BadRequest, match="unknown"):
                await keys.caller("Bearer acorn_guess", "10.0.0.1")


async def test_without_the_database_nobody_is_let_in_and_the_answer_says_so(redis: Redis) -> None:
    away = Store("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(BadRequest) as caught:
        await Keys(away, redis).caller("Bearer acorn_x", "10.0.0.1")
    assert (caught.value.status, caught.value.code) == (503, "UNAVAILABLE")
    assert await Keys(away, redis).still_valid("Bearer acorn_x")
    await away.close()
