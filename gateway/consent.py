"""Asking accounts for their consent: GET /channels/<id>/authorize starts it, GET /channels/authorized is where it comes back.

Who starts it in a browser shows a key with the scope `admin`, or comes by a link of `acorn channels authorize --link` that works
once. What comes back is known by its `state`: 256 random bits, kept as a hash, good for ten minutes and once, for one
channel, and in the browser that started it. The command line starts without a browser of ours; its state alone proves it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from urllib.parse import parse_qsl, urlsplit

from adapters.consent import Consent, Consented, Query
from domain.errors import Conflict, Forbidden, HouseError, Invalid, Refused
from domain.grant import Source
from domain.ids import ChannelId
from gateway import metrics
from gateway.asgi import Receive, Scope, Send, address, header, request_id, respond
from gateway.auth import Keys
from gateway.body import BadRequest
from store import consent, grant
from store.consent import Asked, Progress
from store.keyring import Keyring
from store.session import UNAVAILABLE, Store

log = logging.getLogger(__name__)

PREFIX = "/channels/"
BACK = "/channels/authorized"
COOKIE = "acorn_consent"
LIFE_S = 600
LOOK_S = 0.5
HTML = "text/html; charset=utf-8"
# What a platform's own rule finds wrong with what came back.
_STATUS: Mapping[type[Refused], int] = {Conflict: 409, Forbidden: 403}


@dataclass(frozen=True, slots=True)
class Started:
    """A consent that was asked for: its id, and the address to open."""

    id: str
    url: str


async def start(store: Store, ring: Keyring, asked: Consent) -> Started:
    """Ask for a consent whose page is opened at once, by whoever asks. Raises Invalid where it cannot be asked for, or kept."""
    ring.check()
    id, state = secrets.token_hex(8), secrets.token_urlsafe(32)
    url = asked.url(state)
    async with store.begin() as tx:
        await consent.start(tx, id, asked.channel.id, LIFE_S, state_hash=hashed(state))
    return Started(id, url)


async def start_link(store: Store, ring: Keyring, asked: Consent, base: str) -> Started:
    """A link under `base`, the gateway's address, that somebody else may open once. Raises Invalid as `start` does."""
    ring.check()
    id, link = secrets.token_hex(8), secrets.token_urlsafe(32)
    asked.url("")
    async with store.begin() as tx:
        await consent.start(tx, id, asked.channel.id, LIFE_S, link_hash=hashed(link))
    return Started(id, f"{base}{PREFIX}{asked.channel.id}/authorize?link={link}")


async def outcome(store: Store, id: str) -> Progress | None:
    """Wait for what becomes of a consent: granted or refused, or still neither when its time is over."""
    while True:
        async with store.begin() as tx:
            progress = await consent.progress(tx, id)
        if progress is None or progress.granted is not None or progress.expired:
            return progress
        # A cancellation can be lost on its way through a database's driver: Ctrl-C must not be.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError
        await asyncio.sleep(LOOK_S)


def base_of(asked: Consent, host: str, port: int) -> str:
    """The gateway's own address: that of the redirect URI, else where it listens."""
    if asked.redirect_uri is None:
        return f"http://{host}:{port}"
    parts = urlsplit(asked.redirect_uri)
    return f"{parts.scheme}://{parts.netloc}"


async def keep(store: Store, ring: Keyring, asked: Consent, given: Consented, source: Source) -> None:
    """Keep a consent, with its end where it has one."""
    expires_at = None if given.life is None else datetime.now(UTC) + given.life
    async with store.begin() as tx:
        await grant.keep_token(tx, ring, asked.channel.id, asked.account, given.token, source, expires_at)
    log.info("consent.kept", extra={"channel": asked.channel.id, "source": source.value})


def hashed(secret: str) -> str:
    """What is kept of a secret of 256 bits that was handed out."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class Refusal(Exception):
    """What a person in a browser is told instead."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Consents:
    """Answers GET under /channels/."""

    def __init__(self, store: Store, ring: Keyring, accounts: Mapping[ChannelId, Consent], keys: Keys) -> None:
        self._store = store
        self._ring = ring
        self._accounts = accounts
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, words, headers = await self._answer(scope)
        except Refusal as problem:
            status, words, headers = problem.status, problem.words, {}
        except BadRequest as problem:
            status, words, headers = problem.status, problem.message, dict(problem.headers)
        except UNAVAILABLE as problem:
            log.warning("consent.database_away", extra={"reason": type(problem).__name__})
            status, words, headers = 503, "The database is away. Nothing was kept; start again in a moment.", {}
        metrics.REQUESTS.labels("/channels", status).inc()
        headers = {"content-type": HTML, "x-request-id": request_id(scope), "referrer-policy": "no-referrer", **headers}
        await respond(send, status, _page(words), headers)

    async def _answer(self, scope: Scope) -> tuple[int, str, dict[str, str]]:
        if scope["method"] != "GET":
            raise BadRequest("Open this address in a browser.", status=405, headers={"allow": "GET"})
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["path"] == BACK:
            return 200, await self._come_back(scope, query), {"set-cookie": _cookie("", 0, secure=False)}
        id, _, rest = scope["path"].removeprefix(PREFIX).partition("/")
        account = self._accounts.get(ChannelId(id))
        if rest != "authorize" or account is None:
            raise Refusal(404, "There is nothing here. A consent is asked for at /channels/<channel>/authorize.")
        return await self._go(scope, account, dict(query).get("link"))

    async def _go(self, scope: Scope, account: Consent, link: str | None) -> tuple[int, str, dict[str, str]]:
        """On to the platform's page, with a cookie that the way back is known by."""
        if link is None:
            await self._admit(scope, account)
        state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        try:
            self._ring.check()
            url = account.url(state)
        except Invalid as problem:
            raise Refusal(409, problem.message) from None
        hashes = {"state_hash": hashed(state), "browser_hash": hashed(browser)}
        async with self._store.begin() as tx:
            if link is None:
                await consent.start(tx, secrets.token_hex(8), account.channel.id, LIFE_S, **hashes)
            elif not await consent.open_link(tx, account.channel.id, hashed(link), **hashes):
                raise Refusal(410, "This link was opened before, or is older than ten minutes. Ask for a new one.")
        secure = (account.redirect_uri or "").startswith("https://")
        return (
            303,
            f"On to {account.service}.",
            {"location": url, "set-cookie": _cookie(browser, LIFE_S, secure=secure)},
        )

    async def _admit(self, scope: Scope, account: Consent) -> None:
        """Let a key of the scope `admin` in. Raises Refusal and BadRequest, which tell people in a browser of links."""
        way = f"In a browser, open a link that `{account.again} --link` prints."
        try:
            caller = await self._keys.caller(header(scope, "authorization"), address(scope))
        except BadRequest as problem:
            if problem.status != 401:
                raise
            raise BadRequest(f"{problem.message} {way}", status=401, headers=problem.headers) from None
        if "admin" not in caller.scopes:
            raise Refusal(403, f"This wants a key with the scope admin. {way}")

    async def _come_back(self, scope: Scope, query: Query) -> str:
        """What the person is told when the consent is kept. Raises Refusal; whoever waits at a command line is told as well."""
        state = dict(query).get("state")
        if not state:
            raise Refusal(400, "No consent was sent along. Start again from the beginning.")
        async with self._store.begin() as tx:
            asked = await consent.take(tx, hashed(state))
        if asked is None:
            raise Refusal(
                400, "This consent is not expected: it was used before, or took longer than ten minutes. Start again."
            )
        try:
            words = await self._grant(scope, asked, query)
        except Refusal as problem:
            log.warning("consent.refused", extra={"channel": asked.channel, "reason": problem.words})
            await self._end(asked, problem.words, granted=False)
            raise
        await self._end(asked, words, granted=True)
        return words

    async def _grant(self, scope: Scope, asked: Asked, query: Query) -> str:
        account = self._accounts.get(asked.channel)
        if account is None:
            raise Refusal(409, f"No channel that consents is called {asked.channel} any more.")
        if asked.browser_hash is not None and not hmac.compare_digest(asked.browser_hash, hashed(_browser(scope))):
            raise Refusal(403, "This consent was started in another browser. Start again, and finish in the same one.")
        try:
            code = account.code(query, datetime.now(UTC))
        except Refused as problem:
            status = next((one for kind, one in _STATUS.items() if isinstance(problem, kind)), 400)
            raise Refusal(status, problem.message) from None
        try:
            given = await account.exchange(code)
            await keep(self._store, self._ring, account, given, Source.CONSENT)
        except HouseError as problem:
            raise Refusal(502, f"The consent could not be kept. {problem.message}") from None
        name = f"{asked.channel} ({account.channel.name}, account {account.account})"
        return " ".join(filter(None, (f"{name} is authorized. Its work goes on by itself.", given.but)))

    async def _end(self, asked: Asked, words: str, *, granted: bool) -> None:
        async with self._store.begin() as tx:
            await consent.end(tx, asked.id, granted=granted, words=words)


def _browser(scope: Scope) -> str:
    """Our cookie of this browser, whatever others of the same host stand beside it: SimpleCookie ends at the first odd one."""
    pairs = (one.strip().partition("=") for one in (header(scope, "cookie") or "").split(";"))
    return next((value for name, _, value in pairs if name == COOKIE), "")


def _cookie(value: str, life_s: int, *, secure: bool) -> str:
    # Lax: it must come along when the platform sends the browser back.
    return f"{COOKIE}={value}; Path={PREFIX}; Max-Age={life_s}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")


def _page(words: str) -> bytes:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
        f"<title>ACORN gateway</title></head><body><main><h1>ACORN gateway</h1><p>{escape(words)}</p></main></body></html>"
    ).encode()
