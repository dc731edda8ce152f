"""Documents that clients ask for by id: kept automatically where a client offers one with its SHA-256, or registered beforehand,
and in the strict profile those alone."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict

from graphql import GraphQLError
from redis.asyncio import Redis

from gateway import metrics
from gateway.body import Request, id_of
from gateway.patience import Patience
from gateway.plan import Rejected
from resolvers.context import Caller
from store import document
from store.session import UNAVAILABLE, Store

log = logging.getLogger(__name__)

# Of documents that were kept automatically: in Redis for a day since somebody last asked for them, at most so many, at most so
# long (UTF-8 bytes), and so many new ones of one client in a minute.
AGE_S = 24 * 60 * 60
MOST = 10_000
LONGEST = 10 * 1024
QUOTA = 120

# In the process.
KEPT = 1_000
KEPT_BYTES = 16 * 1024 * 1024
AUTOMATIC_S = 600.0
TRUSTED_S = 5.0
ABSENT_S = 2.0

AUTOMATIC_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"

# KEYS: the document, the ids of all by the second when they end, what this client has added in this minute.
# ARGV: id, text, age in seconds, the most of all, the most of this client, how documents' keys begin. Of too many the one goes
# that nobody has asked for the longest.
KEEP = """
local now = tonumber(redis.call('TIME')[1])
if redis.call('EXISTS', KEYS[1]) == 1 then return 'kept' end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local added = redis.call('INCR', KEYS[3])
if added == 1 then redis.call('EXPIRE', KEYS[3], 60) end
if added > tonumber(ARGV[5]) then return 'quota' end
while redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) do
    redis.call('DEL', ARGV[6] .. redis.call('ZPOPMIN', KEYS[2])[1])
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 'kept'
"""

# KEYS: the document, the ids of all. ARGV: id, age in seconds.
READ = """
local text = redis.call('GETEX', KEYS[1], 'EX', ARGV[2])
if text then
    redis.call('ZADD', KEYS[2], redis.call('TIME')[1] + ARGV[2], ARGV[1])
    redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return text
"""


class Documents:
    """Finds documents by id, and keeps those that clients offer. A registered one is found within two seconds of it, and one that
    was removed is forgotten within five."""

    def __init__(
        self, store: Store, redis: Redis, *, trusted_only: bool = False, most: int = MOST, quota: int = QUOTA
    ) -> None:
        self._store = store
        self._redis = redis
        self._trusted_only = trusted_only
        self._most = most
        self._quota = quota
        self._keep = redis.register_script(KEEP)
        self._read = redis.register_script(READ)
        self._patience = Patience()
        self._memory = _Memory()
        # Ids that were not registered when we looked, and until when we believe that.
        self._absent: OrderedDict[str, float] = OrderedDict()

    async def text(self, request: Request) -> str:
        """The document that is asked for. Raises Rejected for one that is not there, or may not run."""
        id = request.document_id
        if self._trusted_only:
            text = await self._trusted(id or id_of(request.query))
            if text is None:
                raise _not_trusted()
            return text
        if request.query or id is None:
            return request.query
        text = self._memory.fresh(id) or await self._automatic(id) or await self._trusted(id)
        if text is None:
            raise _not_found(request.automatic)
        return text

    def at_hand(self, request: Request) -> str | None:
        """The same where it is in memory and nobody has to be asked or told anything; None where it is not."""
        id = request.document_id
        if id is None and not self._trusted_only:
            return request.query
        kept = self._memory.fresh(id or id_of(request.query))
        return kept if kept is None or self._trusted_only else request.query or kept

    async def offered(self, id: str, text: str, caller: Caller) -> None:
        """Keep a valid document that came with its SHA-256, unless its client sends too many. Without Redis nothing is kept."""
        if self._trusted_only or self._memory.fresh(id) is not None:
            return
        metrics.DOCUMENTS.labels(await self._offered(id, text, caller)).inc()

    async def _offered(self, id: str, text: str, caller: Caller) -> str:
        """What became of it, in a word."""
        if len(text.encode()) > LONGEST:
            return "long"
        keys = [_key(id), _INDEX, f"acorn:documents:by:{caller.name}"]
        told = await self._patience.wait(
            lambda: self._keep(keys=keys, args=[id, text, AGE_S, self._most, self._quota, _key("")])
        )
        if told is None:
            return "away"
        outcome: str = told.decode()
        if outcome == "kept":
            self._memory.keep(id, text, AUTOMATIC_S)
        else:
            log.warning("documents.not_kept", extra={"caller": caller.name, "reason": outcome})
        return outcome

    async def _automatic(self, id: str) -> str | None:
        read: bytes | None = await self._patience.wait(lambda: self._read(keys=[_key(id), _INDEX], args=[id, AGE_S]))
        text = None if read is None else read.decode(errors="replace")
        if text is None or id_of(text) != id:
            return None
        self._memory.keep(id, text, AUTOMATIC_S)
        return text

    async def _trusted(self, id: str) -> str | None:
        """A registered document. While the database is away those that were in use go on; for others Rejected is raised."""
        now = time.monotonic()
        text = self._memory.fresh(id)
        if text is not None or self._absent.get(id, 0.0) > now:
            return text
        try:
            async with self._store.begin() as tx:
                text = (await document.texts(tx, [id])).get(id)
        except UNAVAILABLE:
            if (text := self._memory.of(id)) is None:
                raise _away() from None
            return text
        if text is not None:
            self._memory.keep(id, text, TRUSTED_S)
            return text
        self._memory.forget(id)
        self._absent[id] = now + ABSENT_S
        self._absent.move_to_end(id)
        if len(self._absent) > KEPT:
            self._absent.popitem(last=False)
        return None


class _Memory:
    """Texts of this process by id, the longest unused forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._size = 0

    def of(self, id: str) -> str | None:
        """The text, however old."""
        found = self._kept.get(id)
        return None if found is None else found[0]

    def fresh(self, id: str) -> str | None:
        """The text, while it need not be looked up again."""
        found = self._kept.get(id)
        if found is None or found[1] <= time.monotonic():
            return None
        self._kept.move_to_end(id)
        return found[0]

    def keep(self, id: str, text: str, seconds: float) -> None:
        self.forget(id)
        self._kept[id] = text, time.monotonic() + seconds
        self._size += len(text)
        while len(self._kept) > KEPT or self._size > KEPT_BYTES:
            self.forget(next(iter(self._kept)))

    def forget(self, id: str) -> None:
        found = self._kept.pop(id, None)
        self._size -= 0 if found is None else len(found[0])


_INDEX = "acorn:documents"


def _key(id: str) -> str:
    return f"acorn:document:{id}"


def _not_found(automatic: bool) -> Rejected:
    if automatic:  # the words that such clients look for; they send the text next
        return Rejected(GraphQLError("PersistedQueryNotFound", extensions={"code": AUTOMATIC_NOT_FOUND}), 404)
    message = (
        'No document is kept under this id. Send `query` along with `documentId: "sha256:…"` to have it kept, or register it '
        "with `acorn documents register`."
    )
    return Rejected(GraphQLError(message, extensions={"code": "DOCUMENT_NOT_FOUND"}), 404)


def _not_trusted() -> Rejected:
    message = "Only registered documents run here; register it with `acorn documents register`."
    return Rejected(GraphQLError(message, extensions={"code": "DOCUMENT_NOT_TRUSTED"}), 403)


def _away() -> Rejected:
    message = "The database does not answer; try again in a moment."
    return Rejected(GraphQLError(message, extensions={"code": "UNAVAILABLE"}), 503)
