"""The ASGI application: what answers at which address."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeAlias

import strawberry

from executor import Native
from gateway import memory, metrics, single
from gateway.accept import wants_page
from gateway.admission import Admission
from gateway.answered import Answered
from gateway.answers import Answers
from gateway.asgi import Receive, Scope, Send, header, listed, request_id, respond
from gateway.consent import PREFIX as CHANNELS
from gateway.consent import Consents
from gateway.cors import VARY, cors, preflight
from gateway.documents import Documents
from gateway.endpoint import BEGUN, METHODS, Endpoint, Terms
from gateway.errors import internal
from gateway.execution import Executor, write_json
from gateway.expiry import Expiry
from gateway.feeds import PREFIX as FEEDS
from gateway.feeds import Feeds
from gateway.front import Front
from gateway.hooks import PATH as HOOKS
from gateway.hooks import Hooks
from gateway.inbox import Inbox
from gateway.linked import PREFIXES, Linked
from gateway.pages import page
from gateway.plan import SECOND_USE, Plans
from gateway.price_files import PATH as PRICE_FILES
from gateway.price_files import PriceFiles
from gateway.quota import Budget, Quotas
from gateway.settings import Settings
from gateway.single import SingleStreams
from gateway.standing import Standing, open_house
from gateway.stream import Streams
from gateway.tracking import PREFIX as TRACKING
from gateway.tracking import TrackingIn
from gateway.tracking_files import PATH as TRACKING_FILES
from gateway.tracking_files import TrackingFiles
from gateway.webhooks import PREFIX as WEBHOOKS
from gateway.webhooks import Webhooks
from gateway.websocket import Sockets
from schema.root import schema as public_schema
from schema.scalars import NATIVES
from schema.scopes import LASTING, PUBLIC, SCOPES

log = logging.getLogger(__name__)

HTML = "text/html; charset=utf-8"
JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

Answering: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class App:
    """One process's application. The house is built when the server starts it, and closed when the server stops it.

    `natives`, `public`, `lasting` and `compile_at` are those of gateway.plan.Plans.
    """

    # Set by `start`, before which the server asks for nothing.
    standing: Standing
    _quotas: Quotas
    _streams: Streams
    _sockets: Sockets
    _endpoint: Endpoint
    _singles: SingleStreams
    _front: Front
    _inbox: Inbox
    _others: Mapping[str, Answering]

    def __init__(
        self,
        settings: Settings,
        *,
        schema: strawberry.Schema = public_schema,
        scopes: Mapping[str, frozenset[str]] = SCOPES,
        natives: Mapping[str, Native] = NATIVES,
        public: Collection[str] = PUBLIC,
        lasting: Collection[str] = LASTING,
        house: Callable[[Settings], Awaitable[Standing]] = open_house,
        compile_at: int | None = SECOND_USE,
    ) -> None:
        self._settings = settings
        self._house = house
        self._executor = Executor(schema, lambda: self.standing.shelf)
        self._plans = Plans(
            self._executor.schema, scopes, natives=natives, compile_at=compile_at, public=public, lasting=lasting
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case "lifespan":
                await self._live(receive, send)

    def quick(self, scope: Scope) -> bool:
        """Whether a request was answered at once, since the same was answered a moment ago."""
        return scope["path"] == "/graphql" and self._front.serve(scope)

    def begin(self, scope: Scope) -> bool:
        """Whether a request was answered at once, since the same was understood before and nothing has to be waited for."""
        if self._executor.tracing is not None:
            self._executor.tracing.arrived_alone()
        return self._endpoint.begin(scope)

    async def drain(self) -> None:
        """End streams and sockets, so that the server need not wait for their clients; returns when they have said so."""
        await asyncio.gather(self._streams.close(), self._sockets.close())
        await self._singles.close()

    async def start(self) -> None:
        """Open the house."""
        settings, executor = self._settings, self._executor
        self.standing = await self._house(settings)
        house, shelf, keys = self.standing.house, self.standing.shelf, self.standing.keys
        executor.tracing = house.tracing
        if settings.answer_cache_s:
            executor.answers = Answers(shelf.stock_cache, settings.answer_cache_s, shelf.clock)
        documents = Documents(house.store, house.redis, trusted_only=settings.documents == "trusted")
        self._quotas = Quotas(house.redis, Budget(settings.key_points_per_minute, settings.key_calls_per_minute))
        admission = Admission(self._plans, documents, self._quotas)
        origins, deadline_s = settings.allowed_origins, settings.deadline_s
        terms = Terms(settings.body_limit_kib * 1024, deadline_s, origins, settings.public_max_age_s)
        expiry = Expiry(keys)
        self._streams = Streams(expiry)
        self._sockets = Sockets(admission, executor, keys, expiry, deadline_s=deadline_s, allowed_origins=origins)
        answered = Answered()
        self._endpoint = Endpoint(admission, executor, keys, self._streams, terms, answered)
        self._singles = SingleStreams(admission, executor, keys, self._streams, self._endpoint, terms)
        self._front = Front(executor.answers, keys, admission, answered, traced=executor.tracing is not None)
        self._inbox = Inbox(house.store, house.redis)
        self._others = {single.PATH: self._single, **_others(self.standing, self._inbox)}
        memory.settle()

    async def _live(self, receive: Receive, send: Send) -> None:
        """The server's two words: start, and stop."""
        await receive()
        try:
            await self.start()
        except Exception as problem:
            log.exception("gateway.start_failed")
            await send({"type": "lifespan.startup.failed", "message": str(problem)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.drain()
        await self._quotas.settle()
        await self._inbox.close()
        await self.standing.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._executor.tracing is not None:
            self._executor.tracing.arrived(scope)
        if scope["path"] != "/graphql":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # before the handshake: a 403
            return
        await self._sockets(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._executor.tracing is not None and BEGUN not in scope:
            self._executor.tracing.arrived(scope)
        try:
            if scope["path"] != "/graphql":
                await self._route(scope, receive, send)
            elif scope["method"] == "POST":
                await self._endpoint(scope, receive, send)
            else:
                await self._graphql(scope, receive, send)
        except Exception:
            id = request_id(scope)
            log.exception("http.failed", extra={"request_id": id, "path": scope["path"]})
            # Where an answer has begun the server refuses another, and ends the connection.
            headers = {"content-type": JSON, "x-request-id": id, **cors(scope, self._settings.allowed_origins)}
            await respond(send, 500, write_json({"errors": [internal(id)]}), headers)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method, id = scope["path"], scope["method"], request_id(scope)
        for address, answer in self._others.items():
            if path == address or (address.endswith("/") and path.startswith(address)):
                await answer(scope, receive, send)
                return
        if method not in ("GET", "HEAD"):
            await _refused(send, 405, "Only GET is answered here.", id, {"allow": "GET, HEAD"})
            return
        status, body, headers = await self._page(path)
        metrics.REQUESTS.labels("page", status).inc()
        await respond(send, status, b"" if method == "HEAD" else body, {"x-request-id": id, **headers})

    async def _graphql(self, scope: Scope, receive: Receive, send: Send) -> None:
        id = request_id(scope)
        match scope["method"]:
            case "OPTIONS":
                granted = preflight(scope, self._settings.allowed_origins, METHODS)
                await respond(send, 204, b"", {"x-request-id": id, **granted})
            case "GET" | "HEAD" if self._settings.graphiql and is_browser(scope):
                key = self._settings.graphiql_key.get_secret_value()
                headers = {"content-type": HTML, "content-security-policy": page.POLICY, "x-request-id": id, **VARY}
                await respond(send, 200, page.graphiql(key), headers)
            case "GET" | "HEAD":
                await self._endpoint(scope, receive, send)
            case _:
                headers = {"allow": f"{METHODS}, OPTIONS", **cors(scope, self._settings.allowed_origins)}
                await _refused(send, 405, "Send operations by POST, or queries by GET.", id, headers)

    async def _single(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, id = scope["method"], request_id(scope)
        if method == "OPTIONS":
            granted = preflight(scope, self._settings.allowed_origins, single.METHODS)
            await respond(send, 204, b"", {"x-request-id": id, **granted})
        elif method in single.METHODS.split(", "):
            await self._singles(scope, receive, send)
        else:
            headers = {"allow": f"{single.METHODS}, OPTIONS", **cors(scope, self._settings.allowed_origins)}
            await _refused(send, 405, "Reserve a stream by PUT, open it by GET.", id, headers)

    async def _page(self, path: str) -> tuple[int, bytes, Mapping[str, str]]:
        match path:
            case "/":
                return 200, page.landing(), {"content-type": HTML, "content-security-policy": page.POLICY}
            case "/healthz":
                return 200, b"ok\n", {"content-type": TEXT}
            case "/readyz":
                ailments = await self.standing.ailments()
                told = {"ready": not ailments, "reasons": ailments}
                return 503 if ailments else 200, write_json(told), {"content-type": JSON}
            case "/metrics":
                await self.standing.tell_of_channels()
                return 200, metrics.page(), {"content-type": metrics.CONTENT_TYPE}
        found = page.asset(path)
        if found is None:
            return 404, b"There is nothing here. GraphQL is at /graphql.\n", {"content-type": TEXT}
        content, media_type = found
        # The address holds the version, so what it names never changes.
        return 200, content, {"content-type": media_type, "cache-control": "public, max-age=31536000, immutable"}


def is_browser(scope: Scope) -> bool:
    """Whether a page is to be shown. Java's clients ask for HTML too, unless told otherwise, but with a key; a browser that opens
    an address sends none."""
    return header(scope, "authorization") is None and wants_page(listed(scope, "accept"))


def _others(standing: Standing, inbox: Inbox) -> dict[str, Answering]:
    """Who answers at other addresses than /graphql, the first that fits: one that ends in a slash fits all below it."""
    house, shelf, keys = standing.house, standing.shelf, standing.keys
    price_files, hooks = PriceFiles(shelf, keys), Hooks(shelf, keys)
    return {
        FEEDS: Feeds(house.store, {feed.id: feed for feed in house.feeds_in}),
        TRACKING_FILES: TrackingFiles(shelf, keys),
        PRICE_FILES: price_files,
        f"{PRICE_FILES}/": price_files,
        TRACKING: TrackingIn(house.store, {one.id: one for one in house.tracking_in}),
        **dict.fromkeys(PREFIXES, Linked(shelf)),
        HOOKS: hooks,
        f"{HOOKS}/": hooks,
        WEBHOOKS: Webhooks(inbox, house.channels, house.notices.webhooks),
        CHANNELS: Consents(house.store, house.ring, house.consents, keys),
    }


async def _refused(send: Send, status: int, message: str, id: str, headers: Mapping[str, str]) -> None:
    """A refusal of the method, in GraphQL's form."""
    metrics.REQUESTS.labels("page", status).inc()
    body = {"errors": [{"message": message, "extensions": {"code": "METHOD_NOT_ALLOWED"}}]}
    await respond(send, status, write_json(body), {"content-type": JSON, "x-request-id": id, **headers})
