"""uvicorn with more to it: it lets streams end before it stops, it can drop a client that does not read, it waits for no client
that does not write, it reads no endless head and no trailers, it knows no upgrade but to a WebSocket, it begins to answer without
a task, it takes a whole answer at once, it does not read the same bytes twice, and it says clearly that a port is taken."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import httptools
import uvicorn
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CTRL_OPCODES, Frame
from websockets.protocol import OPEN, Event

from gateway.asgi import CUT, NAMED, NOTED, TEXT, WHOLE, Receive, Scope, Send
from gateway.begun import Starter

# A client that begins to read within this time still finds what it had not read, and why it was let go.
GRACE_S = 10.0
# A request's head has so long to arrive, and its rest so long after that. The application reads bodies with a clock of its own.
HEAD_S = 10.0
REST_S = 15.0
# Bytes of a request's head, roughly: what arrives with its last part is read anyway. So many may also follow its body.
HEAD_BYTES = 64 * 1024
HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s"
)
UNREADABLE = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
BACKLOG = 2_048
# Frames of a WebSocket that say nothing, in one piece of data; and the frames of one message.
MOST_FRAMES = 1_000
# What asks for another protocol, and says how; without it a request is one like any other.
_UPGRADING = frozenset({b"upgrade", b"http2-settings"})
# Requests that are known by their bytes: so many, of so many bytes.
MOST_PIECES = 1_000
LONGEST_PIECE = 4 * 1024
# What their bytes alone decide of a scope.
_ALIKE = frozenset(
    {"type", "asgi", "http_version", "method", "root_path", "path", "raw_path", "query_string", "headers", NAMED, NOTED}
)

log = logging.getLogger(__name__)


class PortTaken(Exception):
    """Somebody else listens there; the message names the address and what to do."""


AtOnce: TypeAlias = Callable[[Scope], bool]


class Application(Protocol):
    """What we serve. `drain` ends streams and sockets, which otherwise hold a stop up for as long as their clients like, and
    returns when they have said their last words, a moment later at most.

    Where there are methods `quick(scope)` and `begin(scope)` too, they are asked first, one after the other, whether they have
    answered a request at once (see `gateway.asgi.WHOLE`). The second is asked within a task, and may begin what has to wait.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def drain(self) -> None: ...


class Piece(NamedTuple):
    """What a piece of data says that is one whole request and nothing else. Of its scope, what it says on any connection."""

    scope: Scope
    body: bytes


class _Shared:
    """What all connections of a loop share, until its server stops."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.starter = Starter(loop)
        self.pieces: dict[bytes, Piece] = {}  # the oldest first

    def keep(self, data: bytes, scope: Any, body: bytes) -> None:
        """Know the request again when it comes in these very bytes."""
        if len(data) > LONGEST_PIECE:
            return
        if len(self.pieces) >= MOST_PIECES:
            del self.pieces[next(iter(self.pieces))]
        self.pieces[data] = Piece({name: value for name, value in scope.items() if name in _ALIKE}, body)


class Http(HttpToolsProtocol):
    """A connection whose stream can be ended although its client does not read (see `gateway.asgi.CUT`), and which is closed when
    its client says nothing, or less than a whole request.

    A request that was answered at once is known by its bytes from then on, on all connections: it is not read again, and where it
    is answered at once again, uvicorn never comes to know of it.
    """

    _due_at = math.inf  # of the loop's clock
    _timer: asyncio.TimerHandle | None = None
    _next_s: float | None = None  # what the piece of data in hand makes due, in seconds; None where it changes nothing
    _reading = False
    _resting = False  # between an answer and what may follow it
    _ready: tuple[Any, Any] | None = None  # (uvicorn's cycle, application) of a request that is being read
    _piece: Piece | None = None  # of the request in hand, as long as it has no cycle
    _at_once = False  # whether the last request was answered at once
    _begun = 0  # requests that have begun to arrive since the connection was at rest
    _in_head = False  # whether a head has begun and is not complete
    _bare: int | None = None  # bytes of the request that arrives, since it began or brought some of its body
    _bodied = False  # whether the piece of data in hand brought some of a body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(transport)
        self._extensions: dict[str, dict[object, object]] = {
            CUT: {"call": self._cut},
            WHOLE: {"body": self._whole_body, "answer": self._whole_answer},
        }
        # What a scope says of the connection.
        self._own = {
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "extensions": self._extensions,
        }
        shared = _SHARED.get(self.loop)
        if shared is None:
            shared = _SHARED[self.loop] = _Shared(self.loop)
        self._shared = shared
        self._quick: AtOnce = getattr(self.config.app, "quick", _never)
        self._begin: AtOnce = getattr(self.config.app, "begin", _never)
        self._expect(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._reading, self._bodied = True, False
        if not self._resting:
            self._read(data)
        elif (piece := self._shared.pieces.get(data)) is not None and not self._crowded:
            self._take(piece)
        else:
            self._read_first(data)
        self._reading = False
        if self._next_s is not None:
            self._expect(self._next_s)
        if self._bare is not None:
            self._bare = 0 if self._bodied else self._bare + len(data)
            if self._bare > HEAD_BYTES and not self.transport.is_closing():
                self._refuse_bare()

    def _read(self, data: bytes) -> None:
        """Read on, and begin to answer what is there."""
        self._feed(data)
        while self._ready is not None:
            cycle, app = self._ready
            self._ready = None
            self._answer_or_start(cycle.scope, cycle, app)

    def _feed(self, data: bytes) -> None:
        rest: bytes | None = data
        try:
            while rest is not None:
                rest = self._fed(rest)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _fed(self, data: bytes) -> bytes | None:
        """What of `data` has to be read anew, since its request offers another protocol. Raises HttpParserError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._should_upgrade():
                return self._without_upgrade() + data[upgrade.args[0] :]
            if self._answering() or self.pipeline:
                self.transport.close()  # the answer that is due would be written into the socket
            else:
                self.handle_websocket_upgrade()
        return None

    def _without_upgrade(self) -> bytes:
        """The head of the request in hand, to be read anew as if it asked for no other protocol: the parser reads no body after
        such a head, and would take it for the next request."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % one for one in self.headers if one[0] not in _UPGRADING]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _read_first(self, data: bytes) -> None:
        """Read what comes to a connection at rest; even an empty line begins the next request."""
        self._resting, self._at_once, self._begun = False, False, 0
        self._next_s = HEAD_S
        self._read(data)
        if self._at_once and self._begun == 1 and not self.expect_100_continue:
            self._shared.keep(data, self.cycle.scope, bytes(self.cycle.body))

    def _take(self, piece: Piece) -> None:
        """Begin to answer a request that is known by its bytes, and came to a connection at rest."""
        self._resting = False
        self._next_s = math.inf
        self._piece = piece
        self._answer_or_start({**piece.scope, **self._own, "state": self.app_state.copy()}, None, self.app)

    @property
    def _crowded(self) -> bool:
        """Whether uvicorn refuses requests, since there are too many."""
        most = self.limit_concurrency
        return most is not None and (len(self.connections) >= most or len(self.tasks) >= most)

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        # The transport is the socket's from here on.
        self._stop_timer()
        self._next_s = None

    @property
    def _upgrade_ignored(self) -> bool:
        """Whether the parser takes what follows for another protocol, and we do not."""
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = self._extensions
        self._next_s = HEAD_S
        self._in_head, self._bare = True, 0
        self._begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """What follows a body is no header: it would be believed as one."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        _check_framing(self.parser, self.headers)
        if not self._upgrade_ignored:
            super().on_headers_complete()
            self._next_s = REST_S

    def on_body(self, body: bytes) -> None:
        self._bodied = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._bare = None
        if self._upgrade_ignored:
            return
        super().on_message_complete()
        self._next_s = math.inf if self._answering() else self._rest_s()

    def on_response_complete(self) -> None:
        """As uvicorn does it, but that the connection rests by our own clock: theirs is set anew with each request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif (self._due_at if self._next_s is None else self._next_s) == math.inf:
            self._next_s = self._rest_s()
            if not self._reading:
                self._expect(self._next_s)

    def _rest_s(self) -> float:
        """The connection is at rest, for so many seconds at most."""
        self._resting = True
        return float(self.timeout_keep_alive)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._reading and app is self.app:
            self._ready = cycle, app  # its body may have come along
        else:
            super()._start_asgi_task(cycle, app)

    def _answer_or_start(self, scope: Any, cycle: RequestResponseCycle | None, app: Any) -> None:
        """What the application answers at once, or without having to wait, needs no task; and a known request no cycle."""
        try:
            self._at_once = not self.transport.is_closing() and self._answered(scope)
        except Exception:
            log.exception("server.quick_failed")
            self._at_once = self._piece is None if cycle is None else cycle.response_started
        if self._at_once:
            return
        cycle = self._cycle_for(scope) if cycle is None else cycle
        task = self._shared.starter.start(cycle.run_asgi(app))
        if task is not None:
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _answered(self, scope: Any) -> bool:
        """Whether the application has answered it at once. What it has begun instead goes on in the task that is begun next."""
        starter = self._shared.starter
        return self._quick(scope) or (starter.ready and starter.call(self._begin, scope))

    def _cycle_for(self, scope: Any) -> RequestResponseCycle:
        """A known request as if it had been read."""
        assert self._piece is not None
        cycle = self.cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.body += self._piece.body
        cycle.more_body = False
        cycle.message_event.set()
        self._piece = None
        return cycle

    def _answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _expect(self, within_s: float) -> None:
        """The next part of a request is due in so many seconds; infinite when none is.

        The timer that runs already is left alone where it ends before: to set one for each part of each request takes a fifth of
        the time of a quick answer.
        """
        self._next_s = None
        self._due_at = self.loop.time() + within_s
        if self._timer is None or self._due_at < self._timer.when():
            self._start_timer()

    def _start_timer(self) -> None:
        self._stop_timer()
        if self._due_at != math.inf:
            self._timer = self.loop.call_at(self._due_at, self._rung)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rung(self) -> None:
        self._timer = None
        if self.loop.time() < self._due_at:
            self._start_timer()
        else:
            self._overdue()

    def _overdue(self) -> None:
        if self._answering():  # a request before it, or its own; the application knows how long that may take
            self._expect(REST_S)
        else:
            self.transport.close()

    def _whole_body(self) -> bytes | None:
        """The body of the request in hand, if all of it has arrived and a whole answer would be taken at once; it can still be
        received."""
        if not self._takes_whole:
            return None
        if self._piece is not None:
            return self._piece.body
        return None if self.cycle.more_body else bytes(self.cycle.body)

    def _whole_answer(self, head: str, body: bytes) -> bool:
        """Write a whole answer of status 200; `head` are its header lines. False, and nothing written, where uvicorn has more to
        do than that."""
        if not self._takes_whole:
            return False
        begin = _begin(self.server_state.default_headers)
        self.transport.write(f"{begin}{head}\r\n".encode("latin-1") + body)
        if self._piece is not None:
            self._piece = None
        else:
            cycle = self.cycle
            cycle.response_started = cycle.response_complete = True
            cycle.message_event.set()
        self.on_response_complete()
        return True

    @property
    def _takes_whole(self) -> bool:
        """Whether there is no more to do for the request in hand than to write its answer."""
        if self.pipeline or self.flow.write_paused:
            return False
        if self._piece is not None:
            return True
        cycle = self.cycle
        return cycle.keep_alive and not cycle.response_started and not cycle.disconnected

    def _refuse_bare(self) -> None:
        """Of a head nothing has reached the application; answers to requests before it are dropped with it."""
        told = b'{"errors":[{"message":"The head is larger than %d KiB.","extensions":{"code":"HEAD_TOO_LARGE"}}]}'
        body = told % (HEAD_BYTES // 1024)
        if self._in_head and not self._answering():
            self.transport.write(HEAD_TOO_LARGE % (len(body), body))
        self.transport.close()

    def _cut(self, last: bytes) -> None:
        """End the chunked response with `last`, past the flow control that the sender is stuck in."""
        if self.transport.is_closing():
            return
        self.transport.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(last), last))
        self.cycle.response_complete = True
        _drop(self.transport)


class Socket(WebSocketsSansIOProtocol):
    """A connection that can be closed with a code although its client does not read. It refuses handshakes that cannot be read,
    and frames by the thousand that say nothing."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The library has made an answer, or has none; uvicorn does not look.
            self.transport.write(b"".join(self.conn.data_to_send()) or UNREADABLE)
            self.transport.close()

    def handle_events(self) -> None:
        if len(self.conn.events) > MOST_FRAMES and sum(map(_is_idle, self.conn.events)) > MOST_FRAMES:
            self._refuse(1008, "too many frames that say nothing")
        else:
            super().handle_events()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MOST_FRAMES:
            self._refuse(1009, f"a message of more than {MOST_FRAMES} frames")
        else:
            super().handle_cont(event)

    async def run_asgi(self) -> None:
        assert self.scope["extensions"] is not None
        self.scope["extensions"] |= {CUT: {"call": self._cut}, TEXT: {"call": self._text}}
        await super().run_asgi()

    async def send(self, message: ASGISendEvent) -> None:
        """A text to a client that reads is framed here, for a fifth of what the library takes: no extension is ever agreed on."""
        text = message.get("text")
        if not isinstance(text, str) or not self._text(text.encode()):
            await super().send(message)

    def _text(self, text: bytes) -> bool:
        """Whether it was written."""
        if not self.writable.is_set() or self.close_sent or self.conn.state is not OPEN:
            return False
        self.transport.write(_text_frame(len(text)) + text)
        return True

    def _refuse(self, code: int, reason: str) -> None:
        if self.conn.state is OPEN:
            self._cut(code, reason)
        else:
            self.transport.close()

    def _cut(self, code: int, reason: str) -> None:
        if self.transport.is_closing():
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        _drop(self.transport)


def _is_idle(event: Event) -> bool:
    return isinstance(event, Frame) and (not event.data or event.opcode in CTRL_OPCODES)


def _text_frame(length: int) -> bytes:
    """The head of a whole text frame from the server."""
    if length < 126:
        return bytes((0x81, length))
    return b"\x81\x7e" + length.to_bytes(2, "big") if length < 65_536 else b"\x81\x7f" + length.to_bytes(8, "big")


_SHARED: dict[asyncio.AbstractEventLoop, _Shared] = {}


def _check_framing(parser: Any, headers: list[tuple[bytes, bytes]]) -> None:
    """Raises ValueError, which the parser takes for its own, where it cannot be told for certain where a request ends or whom it
    is for (RFC 9112, 3.2 and 6.1)."""
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise ValueError("a transfer coding that we do not know")
    if hosts != 1 and (hosts or parser.get_http_version() != "1.0"):
        raise ValueError("a request names one host")
    if parser.get_method() == b"CONNECT":
        raise ValueError("we are no proxy")


def _never(scope: Scope) -> bool:
    """Answers nothing at once."""
    return False


_begun: tuple[object, str] = None, ""  # the last of uvicorn's lists of usual headers, and the lines that it makes


def _begin(usual: list[tuple[bytes, bytes]]) -> str:
    """The first lines of an answer; `usual` are the headers that uvicorn gives to all: each second a new list, with the date."""
    global _begun
    if _begun[0] is not usual:
        lines = b"".join([b"%b: %b\r\n" % one for one in usual]).decode("latin-1")
        _begun = usual, f"HTTP/1.1 200 OK\r\n{lines}"
    return _begun[1]


def _drop(transport: asyncio.Transport) -> None:
    transport.close()
    asyncio.get_running_loop().call_later(GRACE_S, transport.abort)


class Server(uvicorn.Server):
    """Ends the application's streams before it waits for connections to close."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in sockets or ():
            host, port = one.getsockname()[:2]
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            log.info("server.listening", extra={"address": address})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._application.drain()  # uvicorn closes what is left with a code of its own
        await super().shutdown(sockets)
        shared = _SHARED.pop(asyncio.get_running_loop(), None)
        if shared is not None:
            shared.starter.close()


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
        ws_ping_interval=None,  # gateway.websocket pings, and lets go who does not answer
        # A compressor holds some 300 KiB per connection, and events are small.
        ws_per_message_deflate=False,
    )
