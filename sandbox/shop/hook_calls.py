"""Operations on webhook endpoints."""

from urllib.parse import urlsplit

from sandbox.shop import paging, views
from sandbox.shop.api import Answer, Call, Operation, Problem, operation, text
from sandbox.shop.webhooks import EVENTS, Delivery, Endpoint

OPERATIONS: list[Operation] = []
_SCOPE = "webhooks:write"


@operation(OPERATIONS, "GET", "/webhook-endpoints", "webhooks", _SCOPE)
def list_endpoints(call: Call) -> Answer:
    mine = [one for one in call.shop.webhooks.endpoints.values() if one.client == call.grant.client]
    return Answer({"data": [views.endpoint(call.shop, one) for one in mine], "next_cursor": None})


@operation(OPERATIONS, "POST", "/webhook-endpoints", "webhooks", _SCOPE)
def create_endpoint(call: Call) -> Answer:
    body = call.body
    url, events = text(body, "url", "", 2000), body.get("events")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise Problem("validation", "url is an address", "/url")
    if not isinstance(events, list) or not events or any(event not in EVENTS for event in events):
        raise Problem("validation", f"events are some of {', '.join(EVENTS)}", "/events")
    hooks = call.shop.webhooks
    if any((one.client, one.url) == (call.grant.client, url) for one in hooks.endpoints.values()):
        raise Problem("conflict", "The address is told already")
    made = hooks.open(call.grant.client, url, tuple(dict.fromkeys(events)))
    return Answer(
        views.endpoint(call.shop, made, made=True), 201, {"Location": call.url(f"/webhook-endpoints/{made.id}")}
    )


@operation(OPERATIONS, "DELETE", "/webhook-endpoints/{id}", "webhooks", _SCOPE)
def delete_endpoint(call: Call) -> Answer:
    call.shop.webhooks.close(_known(call))
    return Answer(status=204)


@operation(OPERATIONS, "POST", "/webhook-endpoints/{id}/test", "webhooks", _SCOPE)
def test_endpoint(call: Call) -> Answer:
    endpoint = _known(call)
    delivery = call.shop.webhooks.send(endpoint, "ping", call.shop.now(), {"id": endpoint.id})
    return Answer(views.delivery(call.shop, delivery), 202)


@operation(OPERATIONS, "GET", "/webhook-endpoints/{id}/deliveries", "webhooks", _SCOPE)
def list_deliveries(call: Call) -> Answer:
    told = call.shop.webhooks.page(_known(call))
    return paging.page(
        call,
        lambda since: ((one.updated_at, one) for one in told if one.updated_at >= since),
        lambda one: views.delivery(call.shop, one),
    )


@operation(OPERATIONS, "POST", "/deliveries/{id}/replay", "webhooks", _SCOPE)
def replay_delivery(call: Call) -> Answer:
    delivery: Delivery | None = call.shop.webhooks.deliveries.get(call.id)
    if delivery is None or delivery.endpoint.client != call.grant.client:
        raise Problem("not-found", f"There is no delivery {call.id}")
    call.shop.webhooks.again(delivery)
    return Answer(views.delivery(call.shop, delivery), 202)


def _known(call: Call) -> Endpoint:
    endpoint = call.shop.webhooks.endpoints.get(call.id)
    if endpoint is None or endpoint.client != call.grant.client:
        raise Problem("not-found", f"There is no endpoint {call.id}")
    return endpoint
