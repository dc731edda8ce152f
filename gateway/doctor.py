"""What is wrong with an installation, and what to do next: settings, engines, migrations, credentials, keys, workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

from redis.exceptions import RedisError

from adapters.carrier.labels import CarrierLabels
from adapters.fulfillment import LabelShop
from adapters.port import Port
from adapters.storefront import Places
from domain.budget import Ask, Priority
from domain.channel import Location, Platform
from domain.errors import HouseError, Throttled, Transient, Unauthorized
from domain.place import misplaced
from domain.rule import FbaShare, holds_at
from domain.webhook import WebhookState
from gateway.config import ConfigError, read_config
from gateway.jwt import Away, Issuer, Tokens
from gateway.pages import install
from gateway.settings import ENV_FILE, Settings, SettingsError, read_settings, unread_names
from gateway.wiring import House, build_house
from store import (
    api_key,
    beat,
    event,
    feed,
    finance_file,
    grant,
    migrate,
    money_word,
    person,
    quarantine,
    rule,
    settlement,
    settlement_view,
    webhook,
)
from store.session import UNAVAILABLE, why

CHANNEL_PATIENCE_S = 20.0
BEAT_S = 30.0
# Amazon warns so long before a secret runs out.
WARN = timedelta(days=90)
NEWEST = 3
# Whose buyers are looked at.
LATELY = timedelta(days=7)


class Grade(Enum):
    """Well; worth knowing; or something that has to be mended before the house works."""

    WELL = "ok"
    NOTE = "note"
    ILL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, what was found, and what to do about it."""

    grade: Grade
    what: str
    found: str
    do: str = ""


async def examine(env_file: Path | None = ENV_FILE) -> AsyncIterator[Finding]:
    """Look at everything, one after the other; stops where nothing further can be looked at."""
    try:
        settings = read_settings(env_file=env_file)
    except SettingsError as problem:
        yield Finding(Grade.ILL, "settings", str(problem), "Set them, then run `acorn doctor` again.")
        return
    unread = unread_names(settings.config, env_file=env_file)
    for name, do in unread.items():
        yield Finding(Grade.NOTE, "settings", f"{name} is no setting of ours, and nobody reads it", do)
    if not unread:
        yield Finding(Grade.WELL, "settings", "complete")
    try:
        config = read_config(settings.config)
        house = await build_house(settings, config, log_calls=False)
    except ConfigError as problem:
        yield Finding(Grade.ILL, "channels", str(problem), "Mend the file, then run `acorn doctor` again.")
        return
    try:
        yield Finding(
            Grade.WELL, "channels", f"{settings.config} names {len(house.channels)}: {', '.join(house.channels)}"
        )
        for hint in config.hints:
            yield Finding(Grade.NOTE, "places", hint)
        async for finding in _examine_house(house, settings):
            yield finding
    finally:
        await house.close()


async def _examine_house(house: House, settings: Settings) -> AsyncIterator[Finding]:
    database = await _database(house)
    yield database
    redis = await _redis(house)
    yield redis
    if database.grade is Grade.WELL:
        migrations = await _migrations(settings)
        yield migrations
        if migrations.grade is Grade.WELL:
            yield await _keys(house)
            if (issuer := Issuer.of(settings)) is not None:
                yield await _issuer(issuer)
            yield await _workers(house)
            yield await _quarantine(house)
            for finding in await _feeds(house):
                yield finding
            for finding in await _webhooks(house):
                yield finding
            for finding in await _consents(house):
                yield finding
            for finding in await _money(house):
                yield finding
            for finding in await _buyers(house):
                yield finding
            for finding in await _shares(house):
                yield finding
            if redis.grade is Grade.WELL:
                for findings in await asyncio.gather(
                    *(_channel(port, house.locations) for port in house.ports.values()),
                    *(_carrier(shop) for shop in house.label_shops.values()),
                ):
                    for finding in findings:
                        yield finding
    if not install.installed():
        yield Finding(
            Grade.NOTE, "graphiql", "not installed", "Run `python -m gateway.pages.install` where Node.js is."
        )


async def _database(house: House) -> Finding:
    try:
        await house.store.ping()
    except UNAVAILABLE as problem:
        found = f"no answer ({why(problem)})"
        return Finding(
            Grade.ILL, "database", found, "Check ACORN_DATABASE_URL, and that PostgreSQL runs and lets us in."
        )
    return Finding(Grade.WELL, "database", "answers")


async def _redis(house: House) -> Finding:
    try:
        await house.redis.ping()
    except (RedisError, OSError) as problem:
        found = f"no answer ({type(problem).__name__})"
        return Finding(
            Grade.ILL, "redis", found, "Check ACORN_REDIS_URL, and that Redis or Valkey runs and lets us in."
        )
    return Finding(Grade.WELL, "redis", "answers")


async def _migrations(settings: Settings) -> Finding:
    current = await asyncio.to_thread(migrate.current, settings.database_url.get_secret_value())
    if current != migrate.head():
        return Finding(Grade.ILL, "migrations", f"the database is at {current or 'nothing'}", "Run `acorn migrate`.")
    return Finding(Grade.WELL, "migrations", f"at {current}, the newest")


async def _keys(house: House) -> Finding:
    async with house.store.begin() as tx:
        good = [one for one in await api_key.all(tx) if one.revoked_at is None]
    if not good:
        do = "Run `acorn keys create NAME --scope stock:read`; without a key nobody can ask."
        return Finding(Grade.NOTE, "keys", "there is no API key", do)
    return Finding(Grade.WELL, "keys", f"{len(good)} not revoked")


async def _issuer(issuer: Issuer) -> Finding:
    tokens = Tokens(issuer)
    try:
        count = await tokens.count_keys()
    except Away:
        found = f"the keys of {issuer.name} cannot be read"
        return Finding(Grade.ILL, "issuer", found, "Check ACORN_JWT_JWKS; without its keys no token is believed.")
    finally:
        await tokens.close()
    if not count:
        found = f"{issuer.name} publishes no key for {', '.join(issuer.algorithms)}"
        return Finding(Grade.ILL, "issuer", found, "Check ACORN_JWT_JWKS and ACORN_JWT_ALGORITHMS.")
    return Finding(Grade.WELL, "issuer", f"{issuer.name} publishes {count} keys")


async def _workers(house: House) -> Finding:
    async with house.store.begin() as tx:
        alive = await beat.alive(tx, BEAT_S)
    if not alive:
        do = "Start one with `acorn work`; without it nothing is synchronized or sent."
        return Finding(Grade.NOTE, "workers", f"none has shown a sign of life within {BEAT_S:.0f} s", do)
    return Finding(Grade.WELL, "workers", f"{alive} at work")


async def _quarantine(house: House) -> Finding:
    async with house.store.begin() as tx:
        kept = await quarantine.count(tx)
        newest = [one.rejected for one in await quarantine.recent(tx, NEWEST)]
    if not kept:
        return Finding(Grade.WELL, "quarantine", "empty")
    reasons = "; ".join(f"{one.what} {one.key} of {one.channel}: {one.reason}" for one in newest)
    do = "Mend them where they come from; they are left out until then. Once mended they stay listed here."
    return Finding(Grade.NOTE, "quarantine", f"{kept} kept out. The newest: {reasons}", do)


async def _feeds(house: House) -> list[Finding]:
    """How the outgoing feeds go."""
    async with house.store.begin() as tx:
        states = {state.feed: state for state in await feed.states(tx)}
        oldest = await event.oldest(tx) or 0
    return [_feed(one.id, states.get(one.id), oldest) for one in house.feeds_out]


def _feed(id: str, state: feed.FeedState | None, oldest: int) -> Finding:
    what = f"feed {id}"
    if state is None:
        return Finding(Grade.NOTE, what, "no worker has begun to tell it", "Start one with `acorn work`.")
    if state.seq + 1 < oldest:
        do = "Bring it up to date with `acorn stock export`; what happens from now on it will be told."
        return Finding(Grade.NOTE, what, "it was away for longer than events are kept", do)
    if state.failures:
        last = "never" if state.last_success_at is None else f"{state.last_success_at:%Y-%m-%d %H:%M} UTC"
        found = f"{state.failures} times in a row not taken; the last time it was: {last}. {state.last_error}"
        do = "Check its address and whether it answers; it is tried again at least every 15 minutes, and nothing is lost."
        return Finding(Grade.NOTE, what, found, do)
    return Finding(Grade.WELL, what, "takes what it is told")


async def _webhooks(house: House) -> list[Finding]:
    """Outgoing webhooks that stand still or fail, and whose secrets cannot be opened."""
    async with house.store.begin() as tx:
        every, unopened = await webhook.all_of(tx), await webhook.unopened(tx, house.ring)
    found = []
    for one in every:
        what = f"webhook {one.id}"
        if webhook.seal_name(one.id) in unopened:
            do = "Put the key back that it was kept under, or make it a new secret with `rotateWebhookSecret`."
            found.append(Finding(Grade.ILL, what, "its secret cannot be opened with ACORN_KEYS", do))
        elif one.state is WebhookState.PAUSED:
            do = "Mend what it says, then resume it with `updateWebhook`; it goes on where it stopped."
            found.append(Finding(Grade.NOTE, what, f"{one.made_by}'s is paused. {one.reason}", do))
        elif one.failures:
            do = "Check its address and whether it answers; it is tried for a day, then paused."
            told = f"{one.made_by}'s has failed {one.failures} times in a row. {one.last_error}"
            found.append(Finding(Grade.NOTE, what, told, do))
    if every and not found:
        found.append(Finding(Grade.WELL, "webhooks", f"{len(every)} take what they are told"))
    return found


async def _money(house: House) -> list[Finding]:
    """What somebody has to look at before books can be closed."""
    async with house.store.begin() as tx:
        refused, _ = await finance_file.page(tx, first=NEWEST, state=finance_file.FileState.REFUSED)
        count = await finance_file.count(tx, state=finance_file.FileState.REFUSED)
        gaps = await settlement.gaps(tx)
        left = await settlement_view.residual_sums(tx, datetime.now(UTC))
        unknown = await money_word.unclassified(tx, house.channels)
    found = []
    if unknown:
        words = ", ".join(one.words.told for one in unknown[:NEWEST])
        told = f"{len(unknown)} that nobody knows: {words}"
        found.append(Finding(Grade.NOTE, "words for money", told, "Say what they mean with `classifyMoney`."))
    if count:
        reasons = "; ".join(f"{one.name} of {one.channel}: {one.reason}" for one in refused)
        do = "Mend what they say, then have them read once more with `retrySettlementFile`."
        found.append(Finding(Grade.NOTE, "settlement files", f"{count} refused. The newest: {reasons}", do))
    for gap in gaps[:NEWEST]:
        period = f"{gap.starts_at:%Y-%m-%d} to {gap.ends_at:%Y-%m-%d}"
        do = "Download its file at the channel and bring it with `acorn finance import`."
        found.append(Finding(Grade.NOTE, f"settlement of {gap.channel}", f"{period} is missing", do))
    if left:
        lines, oldest = sum(one.lines for one in left), min(one.oldest for one in left)
        told = f"{lines} lines are not tied out, the oldest since {oldest:%Y-%m-%d}"
        found.append(Finding(Grade.NOTE, "settlements", told, "`residuals` says why, and what to do next."))
    return found


async def _consents(house: House) -> list[Finding]:
    """Who has consented, whether what is kept of it can be opened, and what runs out soon."""
    async with house.store.begin() as tx:
        kept, ends = await grant.states(tx), await grant.secret_ends(tx)
        unopened = set(await grant.unopened(tx, house.ring))
    now = datetime.now(UTC)
    found = []
    for id, account in house.consents.items():
        what, state = f"consent {id}", kept.get(id)
        again = f"Run `{account.again}`."
        if {id, account.client_id} & unopened:
            told = "what is kept of it cannot be opened with ACORN_KEYS"
            found.append(Finding(Grade.ILL, what, told, f"Put the key back that it was kept under. Or: {again}"))
        elif state is None and not account.configured:
            found.append(Finding(Grade.ILL, what, "there is none, neither kept nor in the configuration", again))
        elif state is not None and state.expires_at is not None and state.expires_at - now < account.warn:
            found.append(Finding(Grade.NOTE, what, f"it ends on {state.expires_at:%Y-%m-%d}", again))
        else:
            since = "in the configuration" if state is None else f"kept since {state.granted_at:%Y-%m-%d}"
            found.append(Finding(Grade.WELL, what, since))
        if account.client_id in ends and ends[account.client_id] - now < WARN:
            told = (
                f"the application's secret ends on {ends[account.client_id]:%Y-%m-%d}; no call is answered after that"
            )
            found.append(Finding(Grade.NOTE, f"secret {id}", told, f"Run `acorn channels rotate-secret amazon {id}`."))
    return found


async def _buyers(house: House) -> list[Finding]:
    """Whether channels that are to tell who bought do, and whether what is kept can be opened."""
    asked = [one.id for one in house.channels.values() if one.buyers]
    found = []
    async with house.store.begin() as tx:
        if shut := await person.unopened(tx, house.ring):
            do = "Put the key back that they were kept under, behind the newest."
            found.append(Finding(Grade.ILL, "buyers", f"{shut} cannot be opened with ACORN_KEYS", do))
        for id in asked:
            orders, told = await person.told_of(tx, id, datetime.now(UTC) - LATELY)
            what, words = f"buyers of {id}", f"told of {told} of the {orders} orders of the last days that you ship"
            do = "Give the application the restricted role, the approval or the scope for buyers: docs/orders.md, Buyers."
            silent = orders > 0 and told == 0
            found.append(Finding(Grade.NOTE if silent else Grade.WELL, what, words, do if silent else ""))
    return found


async def _shares(house: House) -> list[Finding]:
    """Shops that may sell what lies in FBA, and of which nothing is sent from there by itself."""
    now = datetime.now(UTC)
    async with house.store.begin() as tx:
        kept = await rule.rules(tx)
    shares = [one for one in kept if isinstance(one.settings, FbaShare) and holds_at(one, now)]
    found = []
    for id, channel in house.channels.items():
        names = [one.name for one in shares if one.channel in (None, id)]
        if names and channel.platform is not Platform.AMAZON and id not in house.fba:
            told = f"may sell units in FBA ({', '.join(names)}), and nothing sends them by itself"
            do = "Name a pool in [channels.ship_from_fba], or call shipFromFba: docs/stock.md, From FBA in your own shop."
            found.append(Finding(Grade.NOTE, f"channel {id}", told, do))
    return found


async def _channel(port: Port, locations: Sequence[Location]) -> list[Finding]:
    """One cheap read proves address, credentials and budget, and may show more that is wrong."""
    what = f"channel {port.channel.id}"
    try:
        checked = await port.check(Ask(Priority.INTERACTIVE, time.monotonic() + CHANNEL_PATIENCE_S))
    except HouseError as problem:
        return [Finding(Grade.ILL, what, problem.message, _remedy(problem))]
    whole = Finding(Grade.NOTE if checked.warnings else Grade.WELL, what, checked.said)
    warned = [Finding(Grade.NOTE, what, one.found, one.do) for one in checked.warnings]
    return [whole, *warned, *await _places(port, locations)]


async def _carrier(shop: LabelShop) -> list[Finding]:
    """One cheap read proves address and token; nothing of a channel, which is asked as such."""
    if not isinstance(shop.labels, CarrierLabels):
        return []
    what = f"carrier {shop.id}"
    try:
        checked = await shop.labels.check(Ask(Priority.INTERACTIVE, time.monotonic() + CHANNEL_PATIENCE_S))
    except HouseError as problem:
        return [Finding(Grade.ILL, what, problem.message, _remedy(problem))]
    return [Finding(Grade.WELL, what, checked.said)]


async def _places(port: Port, locations: Sequence[Location]) -> list[Finding]:
    """Whether the places that the channel knows are those that are configured; nothing of a channel that tells of none."""
    if not isinstance(port, Places):
        return []
    what = f"places of {port.channel.id}"
    try:
        places = await port.places(Ask(Priority.INTERACTIVE, time.monotonic() + CHANNEL_PATIENCE_S))
    except HouseError as problem:
        return [Finding(Grade.NOTE, what, problem.message, _remedy(problem))]
    wrong = misplaced(port.channel.id, locations, places)
    if not wrong:
        return [Finding(Grade.WELL, what, f"{', '.join(one.name for one in places) or 'none'}, as configured")]
    return [Finding(Grade.NOTE, what, one.found, one.do) for one in wrong]


def _remedy(problem: HouseError) -> str:
    match problem:
        case Unauthorized():
            return "Check this channel's credentials in the configuration, and that the account still consents."
        case Throttled():
            return "Its rate budget is used up; wait a minute and run `acorn doctor` again."
        case Transient():
            return "Check the address, the network, and the platform's own status page."
        case _:
            return "The platform refused; its words say why."


def worst(findings: list[Finding]) -> Grade:
    """The grade of the whole."""
    grades = {one.grade for one in findings}
    return next((grade for grade in (Grade.ILL, Grade.NOTE) if grade in grades), Grade.WELL)
