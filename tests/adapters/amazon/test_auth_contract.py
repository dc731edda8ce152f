"""Restricted data tokens and rotations: our requests and Amazon's examples of its answers."""

from __future__ import annotations

import httpx

from adapters.amazon.client import Client, Restricted, Sealed
from adapters.amazon.platform import AmazonPort
from adapters.amazon.rotation import rotate_secret
from adapters.wire import Wire, read
from domain.budget import Ask
from tests.adapters.amazon.bench import Desk, Line
from tests.contracts import spapi

pytestmark = spapi.published


class Anything(Wire):
    """Any answer."""


def client_of(desk: Desk) -> Client:
    assert isinstance(desk.port, AmazonPort)
    return desk.port._client


async def test_our_requests_are_ones_that_amazon_publishes(desk: Desk, line: Line) -> None:
    client = client_of(desk)
    kinds = (
        Restricted("GET", "/mfn/v0/shipments/{shipmentId}"),
        Restricted("GET", "/orders/v0/orders", ("buyerInfo", "shippingAddress")),
    )
    line.answers.append(httpx.Response(200, json={"restrictedDataToken": "Atz.sprdt|1", "expiresIn": 3600}))
    for kind in kinds:
        await client.get("getShipment", "/mfn/v0/shipments/1", {}, Ask(), Anything, restricted=kind)
    line.answers.append(httpx.Response(204))
    line.answers.popleft()
    await rotate_secret(client, Ask())
    names = [spapi.operation_of(one.method, one.url.raw_path.decode()) for one in line.calls]
    assert names.count("createRestrictedDataToken") == 2
    assert names[-1] == "rotateApplicationClientSecret"
    for request in line.calls:
        assert spapi.request_faults(request) == [], f"{request.method} {request.url}"


def test_amazons_examples_of_restricted_data_tokens_are_understood() -> None:
    found = [read(Sealed, one) for _, one in spapi.examples("createRestrictedDataToken")]
    assert [one.expires_in for one in found] == [3600, 3600]
    assert all(one.restricted_data_token.startswith("Atz.sprdt|") for one in found)
