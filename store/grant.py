"""What accounts have granted us: refresh tokens and the application's secrets, encrypted; and the roles that were missing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Transient
from domain.grant import GrantState, Kept, Lack, Source
from domain.ids import ChannelId
from store import channel as channel_state
from store.keyring import Keyring
from store.session import UNAVAILABLE, Store, from_now, storable
from store.tables import account_grant, application_secret, missing_role

log = logging.getLogger(__name__)

# What was read is believed for so long: a new consent takes effect everywhere within it.
BELIEVED_S = 5.0
# Of a refresh token that changes at each use, so many are kept: the newest, and those that may have been told in its stead.
TOKENS = 5

g, a, m = account_grant.c, application_secret.c, missing_role.c


class Grants:
    """What is kept of accounts, read anew every five seconds. Each call is a transaction of its own."""

    def __init__(self, store: Store, ring: Keyring, *, believed_s: float = BELIEVED_S) -> None:
        self._store = store
        self._ring = ring
        self._believed_s = believed_s
        self._known: dict[ChannelId, tuple[Kept, float]] = {}
        self._reading: dict[ChannelId, asyncio.Lock] = {}

    async def kept(self, channel: ChannelId, client_id: str) -> Kept:
        """What is kept of the account and of its application. While the database is away what was read last stays true.

        Raises Transient where nothing was ever read, and Unauthorized for what ACORN_KEYS does not open.
        """
        known = self._known.get(channel)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        async with self._reading.setdefault(channel, asyncio.Lock()):
            known = self._known.get(channel)
            if known is not None and time.monotonic() < known[1]:
                return known[0]
            try:
                found = await self._read(channel, client_id)
            except UNAVAILABLE as problem:
                if known is None:
                    raise _away(problem) from problem
                found = known[0]
            self._known[channel] = found, time.monotonic() + self._believed_s
            return found

    async def fresh(self, channel: ChannelId, client_id: str) -> Kept:
        """What is kept, read now. Raises Transient without the database, and Unauthorized for what ACORN_KEYS does not open."""
        try:
            found = await self._read(channel, client_id)
        except UNAVAILABLE as problem:
            raise _away(problem) from problem
        self._known[channel] = found, time.monotonic() + self._believed_s
        return found

    def forget(self, channel: ChannelId) -> None:
        """Read anew at the next question: what was read seems to be old."""
        if channel in self._known:
            self._known[channel] = self._known[channel][0], 0.0

    async def renew(
        self, channel: ChannelId, account: str, used: str, new: str, *, lives: timedelta | None = None
    ) -> bool:
        """Keep the refresh token that the platform gave in place of the one `used`; False, and nothing is kept, when another
        consent came meanwhile. With `lives` its end is so long from now, and those before it stay beside it.

        Raises Invalid without keys, Unauthorized for what ACORN_KEYS does not open, and Transient without the database.
        """
        try:
            async with self._store.begin() as tx:
                row = (await tx.execute(select(g.sealed).where(g.channel == channel).with_for_update())).one_or_none()
                known = [] if row is None else _tokens(self._ring.open(channel, row.sealed))
                ours = row is None or used in known
                if ours:
                    tokens = [new] if lives is None else [new, *known][:TOKENS]
                    sealed = self._ring.seal(channel, _text(tokens))
                    await _keep_sealed(tx, channel, account, sealed, Source.RENEWED)
                    if lives is not None:
                        ends = update(account_grant).where(g.channel == channel)
                        await tx.execute(ends.values(expires_at=from_now(lives.total_seconds())))
        except UNAVAILABLE as problem:
            raise _away(problem) from problem
        self.forget(channel)
        return ours

    async def bar(self, channel: ChannelId, operation: str, reason: str, for_s: float) -> bool:
        """Let nobody try `operation` for `for_s` seconds, since its role is missing; True when it was not known to be.

        While the database is away nothing is written down, and it is told each time.
        """
        values = {"reason": storable(reason), "until": from_now(for_s)}
        new: bool | None = True
        with _unwritten(channel, operation):
            async with self._store.begin() as tx:
                # A row of this very transaction is new.
                new = await tx.scalar(
                    insert(missing_role)
                    .values(channel=channel, operation=operation, **values)
                    .on_conflict_do_update(index_elements=["channel", "operation"], set_=values)
                    .returning(m.since == func.now())
                )
        self.forget(channel)
        return bool(new)

    async def clear(self, channel: ChannelId, operation: str) -> None:
        """The operation was carried out: its role is there. While the database is away, the next success says so."""
        with _unwritten(channel, operation):
            async with self._store.begin() as tx:
                await tx.execute(delete(missing_role).where(m.channel == channel, m.operation == operation))
        self.forget(channel)

    async def _read(self, channel: ChannelId, client_id: str) -> Kept:
        async with self._store.begin() as tx:
            sealed = await tx.scalar(select(g.sealed).where(g.channel == channel))
            lacks = (
                await tx.execute(select(m.operation, m.reason, m.until > func.now()).where(m.channel == channel))
            ).all()
            query = select(a.sealed, a.previous, _previous_lives()).where(a.client_id == client_id)
            secret = (await tx.execute(query)).one_or_none()
        secrets: list[str] = []
        if secret is not None:
            newest, previous, lives = secret
            secrets = [one for one, good in ((newest, True), (previous, lives)) if one is not None and good]
        tokens = [] if sealed is None else _tokens(self._ring.open(channel, sealed))
        return Kept(
            tokens[0] if tokens else None,
            tuple(self._ring.open(client_id, one) for one in secrets),
            {operation: reason for operation, reason, barred in lacks if barred},
            frozenset(operation for operation, _, _ in lacks),
            tuple(tokens[1:]),
        )


async def keep_token(
    tx: AsyncConnection,
    ring: Keyring,
    channel: ChannelId,
    seller_id: str,
    refresh_token: str,
    source: Source,
    expires_at: datetime | None = None,
) -> None:
    """Keep the account's consent, encrypted. Its work goes on, and what lacked a role is tried again.

    Raises Invalid without keys.
    """
    await _keep_sealed(tx, channel, seller_id, ring.seal(channel, refresh_token), source, expires_at)
    await tx.execute(delete(missing_role).where(m.channel == channel))
    await channel_state.resume(tx, channel)


async def keep_secret(
    tx: AsyncConnection,
    ring: Keyring,
    client_id: str,
    secret: str,
    *,
    expires_at: datetime | None,
    previous_expires_at: datetime | None,
) -> bool:
    """Keep the application's new secret, encrypted; every process uses it within five seconds, and the one before as long as it
    lives. False when it was known, or older than what is kept: notifications come twice and in any order.

    Raises Invalid without keys. The fields are those of APPLICATION_OAUTH_CLIENT_NEW_SECRET.
    """
    sealed = ring.seal(client_id, secret)
    # Nobody else may bring one in between.
    await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"secret of {client_id}", 0))))
    row = (
        await tx.execute(select(a.sealed, a.expires_at).where(a.client_id == client_id).with_for_update())
    ).one_or_none()
    if row is not None:
        older = expires_at is not None and row.expires_at is not None and expires_at <= row.expires_at
        if older or ring.open(client_id, row.sealed) == secret:
            return False
    values = {
        "sealed": sealed,
        "expires_at": expires_at,
        "previous": None if row is None else row.sealed,
        "previous_expires_at": previous_expires_at,
        "kept_at": func.now(),
    }
    await tx.execute(
        insert(application_secret)
        .values(client_id=client_id, **values)
        .on_conflict_do_update(index_elements=["client_id"], set_=values)
    )
    return True


async def states(tx: AsyncConnection) -> dict[ChannelId, GrantState]:
    """The consents that are kept."""
    rows = await tx.execute(select(g.channel, g.source, g.granted_at, g.expires_at))
    return {
        ChannelId(row.channel): GrantState(ChannelId(row.channel), Source(row.source), row.granted_at, row.expires_at)
        for row in rows
    }


async def secret_ends(tx: AsyncConnection) -> dict[str, datetime]:
    """When the newest secret of each application runs out, where that is known."""
    rows = await tx.execute(select(a.client_id, a.expires_at).where(a.expires_at.is_not(None)))
    return {row.client_id: row.expires_at for row in rows}


async def lacks(tx: AsyncConnection, channels: Collection[ChannelId] | None = None) -> list[Lack]:
    """The operations that are refused for want of a role, by channel and name."""
    query = select(m.channel, m.operation, m.reason, m.since).order_by(m.channel, m.operation)
    if channels is not None:
        query = query.where(m.channel.in_(channels))
    return [Lack(ChannelId(row.channel), row.operation, row.reason, row.since) for row in await tx.execute(query)]


async def unopened(tx: AsyncConnection, ring: Keyring) -> list[str]:
    """Whose secrets `ring` does not open: channels and client ids."""
    return ring.unopened(await _all_sealed(tx))


async def reseal(tx: AsyncConnection, ring: Keyring) -> int:
    """Encrypt everything that is kept under the newest key; how many secrets that were.

    What has run out is forgotten. Raises Unopened, and changes nothing then.
    """
    # The rows are locked: what somebody else keeps in between would be lost.
    grants = (await tx.execute(select(g.channel, g.sealed).with_for_update())).all()
    for row in grants:
        anew = ring.anew(row.channel, row.sealed)
        await tx.execute(update(account_grant).where(g.channel == row.channel).values(sealed=anew))
    await tx.execute(update(application_secret).where(~_previous_lives()).values(previous=None))
    secrets = (await tx.execute(select(a.client_id, a.sealed, a.previous).with_for_update())).all()
    count = len(grants)
    for one in secrets:
        values = {"sealed": ring.anew(one.client_id, one.sealed)}
        if one.previous is not None:
            values["previous"] = ring.anew(one.client_id, one.previous)
        await tx.execute(update(application_secret).where(a.client_id == one.client_id).values(**values))
        count += len(values)
    return count


def _tokens(kept: str) -> list[str]:
    """The tokens in what was sealed, newest first; no token of any platform has a line of its own inside."""
    return kept.split("\n")


def _text(tokens: Sequence[str]) -> str:
    return "\n".join(tokens)


def _away(problem: Exception) -> Transient:
    return Transient(f"The database, which keeps the consents, does not answer ({type(problem).__name__}).")


@contextmanager
def _unwritten(channel: ChannelId, operation: str) -> Iterator[None]:
    """What the platform answered is worth more than our note of it: one that the database cannot take is left out."""
    try:
        yield
    except UNAVAILABLE as problem:
        extra = {"channel": channel, "operation": operation, "reason": type(problem).__name__}
        log.warning("grant.unwritten", extra=extra)


def _previous_lives() -> ColumnElement[bool]:
    """Whether the secret before the newest may still be good."""
    return func.coalesce(a.previous_expires_at > func.now(), True)


async def _all_sealed(tx: AsyncConnection) -> list[tuple[str, str]]:
    found = [(row.channel, row.sealed) for row in await tx.execute(select(g.channel, g.sealed).order_by(g.channel))]
    # One that has run out opens nothing anyway.
    lives = and_(a.previous.is_not(None), _previous_lives())
    found += [
        (row.client_id, row.sealed) for row in await tx.execute(select(a.client_id, a.sealed).order_by(a.client_id))
    ]
    found += [(row.client_id, row.previous) for row in await tx.execute(select(a.client_id, a.previous).where(lives))]
    return found


async def _keep_sealed(
    tx: AsyncConnection,
    channel: ChannelId,
    seller_id: str,
    sealed: str,
    source: Source,
    expires_at: datetime | None = None,
) -> None:
    values: dict[str, Any] = {
        "seller_id": seller_id,
        "sealed": sealed,
        "source": source.value,
        "updated_at": func.now(),
    }
    if source is not Source.RENEWED:
        # A renewed token is the same consent, with the same end.
        values |= {"granted_at": func.now(), "expires_at": expires_at}
    await tx.execute(
        insert(account_grant)
        .values(channel=channel, **values)
        .on_conflict_do_update(index_elements=["channel"], set_=values)
    )
