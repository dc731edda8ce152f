"""REST hooks, as Zapier, Make and n8n expect them: a tool subscribes itself when a flow is switched on, and unsubscribes when it
is switched off.

    POST   /hooks                      {"target_url", "event"} -> 201 {"id", "secret"}
    DELETE /hooks/<id>                 -> 200
    GET    /hooks/samples/<event>      ?limit=3 -> a list as it would be delivered, newest first

All with an API key that has the scope webhooks:write and may read the event. What is delivered is flat unless told otherwise; a
target that answers 410 is forgotten. Source: Zapier, "REST hooks"; they know no handshake, so the key is all the proof there is.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qs

from domain.errors import Forbidden, NotFound, Refused
from domain.ids import ChannelId
from domain.webhook import NewWebhook, WebhookFormat
from gateway.asgi import Receive, Scope, Send, address, header, read_body, unless_left
from gateway.auth import Keys
from gateway.body import BadRequest, parse_json
from gateway.deliveries import Reply, database_away, deliver
from resolvers import webhook
from resolvers.context import Caller
from resolvers.shelf import Shelf
from resolvers.webhook import Maker
from schema.scopes import SCOPES
from store.session import UNAVAILABLE

log = logging.getLogger(__name__)

PATH = "/hooks"
SAMPLES = "/hooks/samples/"
BODY_LIMIT = 16 * 1024
USUAL, MOST = 3, 20


class Hooks:
    """Answers under /hooks."""

    def __init__(self, shelf: Shelf, keys: Keys) -> None:
        self._shelf = shelf
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await deliver(PATH, self._answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        caller = await self._keys.caller(header(scope, "authorization"), address(scope))
        try:
            caller.needs(SCOPES["Mutation.createWebhook"])
            return await unless_left(receive, self._asked(scope, receive, caller))
        except Forbidden as problem:
            raise BadRequest(problem.message, status=403) from None
        except NotFound as problem:
            raise BadRequest(problem.message, status=404) from None
        except Refused as problem:
            raise BadRequest(problem.message) from None
        except UNAVAILABLE as problem:
            log.warning("hook.database_away", extra={"reason": type(problem).__name__})
            return database_away()

    async def _asked(self, scope: Scope, receive: Receive, caller: Caller) -> Reply:
        path, method = scope["path"], scope["method"]
        by = Maker(caller.name, caller.scopes)
        if path.startswith(SAMPLES):
            _only(method, "GET")
            name = path.removeprefix(SAMPLES)
            return 200, await webhook.samples(self._shelf, by, name, _limit(scope)), {}
        if path == PATH:
            _only(method, "POST")
            made, secret = await webhook.create(self._shelf, by, _read(await read_body(scope, receive, BODY_LIMIT)))
            return 201, {"id": made.id, "secret": secret}, {}
        _only(method, "DELETE")
        gone = await webhook.delete(self._shelf, by, path.removeprefix(f"{PATH}/"))
        return 200, {"id": gone.id}, {}


def _only(method: str, allowed: str) -> None:
    if method != allowed:
        raise BadRequest(f"Only {allowed} is answered here.", status=405, headers={"allow": allowed})


def _limit(scope: Scope) -> int:
    """How many samples are asked for. Raises BadRequest."""
    told = parse_qs(scope["query_string"].decode("latin-1")).get("limit", [str(USUAL)])[-1]
    if not (told.isascii() and told.isdigit() and 1 <= int(told[:9]) <= MOST):
        raise BadRequest(f"`limit` is a number from 1 to {MOST}.")
    return int(told)


def _read(body: bytes) -> NewWebhook:
    """What a subscription asks for; what else a tool sends along is of no concern. Raises BadRequest."""
    told = parse_json(body)
    if not isinstance(told, dict):
        raise BadRequest(
            'The body must be a JSON object such as {"target_url": "https://…", "event": "order.changed.v1"}.'
        )
    forms = {one.value.lower(): one for one in WebhookFormat}
    form = _text(told, "format", WebhookFormat.FLAT.value).lower()
    if form not in forms:
        raise BadRequest(f"`format` is one of {', '.join(sorted(forms))}.")
    return NewWebhook(
        url=_text(told, "target_url"),
        events=(_text(told, "event"),),
        channels=tuple(ChannelId(one.removeprefix("Channel:")) for one in _texts(told, "channels")),
        skus=_texts(told, "skus"),
        format=forms[form],
        hook=True,
    )


def _text(told: dict[str, Any], name: str, usual: str | None = None) -> str:
    found = told.get(name, usual)
    if not isinstance(found, str) or not found:
        raise BadRequest(f"`{name}` must be a text.")
    return found


def _texts(told: dict[str, Any], name: str) -> tuple[str, ...]:
    found = told.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BadRequest(f"`{name}` must be a list of texts.")
    return tuple(found)
