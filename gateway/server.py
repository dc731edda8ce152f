"""uvicorn with four things more: it lets streams end before it stops, it can drop a client that does not read, it waits for no
client that does not write, and it says clearly that a port is taken."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.asgi import CUT, Receive, Scope, Send

# A client that begins to read within this time still finds what it had not read, and why it was let go.
GRACE_S = 10.0
# A request's head has so long to arrive, and its rest so long after that. The application reads bodies with a clock of its own.
HEAD_S = 10.0
REST_S = 15.0
BACKLOG = 2_048


class PortTaken(Exception):
    """Somebody else listens there; the message names the address and what to do."""


class Application(Protocol):
    """What we serve. `drain` ends streams and sockets, which otherwise hold a stop up for as long as their clients like, and
    returns when they have said their last words, a moment later at most."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def drain(self) -> None: ...


class Http(HttpToolsProtocol):
    """A connection whose stream can be ended although its client does not read (see `gateway.asgi.CUT`), and which is closed when
    its client says nothing, or less than a whole request."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(transport)
        self._expect(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._due is None and not self._answering():
            self._expect(HEAD_S)  # an empty line is no request, and uvicorn's own clock stops at it
        super().data_received(data)

    def handle_websocket_upgrade(self) -> None:
        self._expect(None)
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"call": self._cut}}
        self._expect(HEAD_S)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._expect(REST_S)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._expect(None)

    def _answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _expect(self, within_s: float | None) -> None:
        """The next part of a request is due in so many seconds; None when none is."""
        if self._due is not None:
            self._due.cancel()
        self._due = None if within_s is None else self.loop.call_later(within_s, self._overdue)

    def _overdue(self) -> None:
        if self._answering():  # a request before it, or its own; the application knows how long that may take
            self._expect(REST_S)
        else:
            self.transport.close()

    def _cut(self, last: bytes) -> None:
        """End the chunked response with `last`, past the flow control that the sender is stuck in."""
        if self.transport.is_closing():
            return
        self.transport.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(last), last))
        self.cycle.response_complete = True
        _drop(self.transport)


class Socket(WebSocketsSansIOProtocol):
    """A connection that can be closed with a code although its client does not read."""

    async def run_asgi(self) -> None:
        assert self.scope["extensions"] is not None
        self.scope["extensions"][CUT] = {"call": self._cut}
        await super().run_asgi()

    def _cut(self, code: int, reason: str) -> None:
        if self.transport.is_closing():
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        _drop(self.transport)


def _drop(transport: asyncio.Transport) -> None:
    transport.close()
    asyncio.get_running_loop().call_later(GRACE_S, transport.abort)


class Server(uvicorn.Server):
    """Ends the application's streams before it waits for connections to close."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._application.drain()  # uvicorn closes what is left with a code of its own
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle on and the second packet of an answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as problem:
        listener.close()
        raise PortTaken(f"Cannot listen on {host}:{port}: {problem.strerror}.") from None
    return listener


def config(
    application: Any,
    *,
    connection_limit: int,
    stop_within_s: int,
    message_limit: int = 100 * 1024,
    trusted_proxies: tuple[str, ...] = (),
) -> uvicorn.Config:
    """How we run uvicorn; logs are set up by `gateway.logs`, requests are logged by us."""
    return uvicorn.Config(
        application,
        http=Http,
        ws=Socket,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies) or None,
        limit_concurrency=connection_limit,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=stop_within_s,
        ws_max_size=message_limit + 4 * 1024,  # a request, and the frame around it
        ws_ping_interval=20,
        ws_ping_timeout=20,
        # A compressor holds some 300 KiB per connection, and events are small.
        ws_per_message_deflate=False,
    )
