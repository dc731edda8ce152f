"""Consents and secrets at rest: encrypted, opened by the ring alone, and shared by all processes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from domain.errors import Invalid, Transient, Unauthorized
from domain.grant import Source
from domain.ids import ChannelId
from store import channel, grant
from store.grant import Grants
from store.keyring import Keyring, Unopened
from store.session import Store

EU, CLIENT = ChannelId("amazon-eu"), "amzn1.application-oa2-client.1"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
RING = Keyring([NEW])
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def grants(store: Store, ring: Keyring = RING, believed_s: float = 0.0) -> Grants:
    return Grants(store, ring, believed_s=believed_s)


async def keep(store: Store, token: str, ring: Keyring = RING, source: Source = Source.CONSENT) -> None:
    async with store.begin() as tx:
        await grant.keep_token(tx, ring, EU, "A1", token, source, NOW)


async def secret(store: Store, value: str, expires_at: datetime | None, previous: datetime | None) -> bool:
    async with store.begin() as tx:
        return await grant.keep_secret(tx, RING, CLIENT, value, expires_at=expires_at, previous_expires_at=previous)


async def raw(store: Store) -> str:
    """All that the tables hold, as text."""
    async with store.begin() as tx:
        rows = [*await tx.execute(text("select * from account_grant"))]
        rows += [*await tx.execute(text("select * from application_secret"))]
    return repr(rows)


@given(st.text(max_size=300), st.text(max_size=300))
def test_what_was_sealed_is_opened_under_its_own_name_only(name: str, value: str) -> None:
    name, value = (one.encode("utf-8", "replace").decode() for one in (name, value))
    sealed = RING.seal(name, value)
    assert RING.open(name, sealed) == value
    with pytest.raises(Unopened):
        RING.open(f"{name}!", sealed)
    with pytest.raises(Unopened):
        Keyring([OLD]).open(name, sealed)


def test_a_ring_without_keys_seals_and_opens_nothing() -> None:
    with pytest.raises(Invalid, match="acorn channels new-key"):
        Keyring().seal("a", "b")
    with pytest.raises(Unopened, match="cannot be opened with ACORN_KEYS"):
        Keyring().open("a", RING.seal("a", "b"))
    with pytest.raises(Invalid, match="32 bytes"):
        Keyring(["short"])


async def test_a_consent_is_kept_encrypted_and_read_back(store: Store) -> None:
    assert (await grants(store).kept(EU, CLIENT)).refresh_token is None
    await keep(store, "Atzr|secret")
    assert (await grants(store).kept(EU, CLIENT)).refresh_token == "Atzr|secret"
    assert "Atzr|" not in await raw(store)
    assert "Atzr|" not in repr(await grants(store).kept(EU, CLIENT))
    async with store.begin() as tx:
        state = (await grant.states(tx))[EU]
    assert (state.source, state.expires_at) == (Source.CONSENT, NOW)


async def test_a_new_consent_resumes_the_account_and_forgets_missing_roles(store: Store) -> None:
    async with store.begin() as tx:
        await channel.pause(tx, EU, "revoked", 3600)
    await grants(store).bar(EU, "getOrder", "no role", 3600)
    await keep(store, "Atzr|1")
    async with store.begin() as tx:
        assert await channel.states(tx) == {}
        assert await grant.lacks(tx) == []


async def test_running_processes_see_a_new_consent_when_what_they_believe_is_old(store: Store) -> None:
    await keep(store, "Atzr|1")
    running, forgetful = grants(store, believed_s=3600), grants(store)
    assert (await running.kept(EU, CLIENT)).refresh_token == "Atzr|1"
    await keep(store, "Atzr|2")
    assert (await running.kept(EU, CLIENT)).refresh_token == "Atzr|1"
    assert (await forgetful.kept(EU, CLIENT)).refresh_token == "Atzr|2"
    running.forget(EU)
    assert (await running.kept(EU, CLIENT)).refresh_token == "Atzr|2"


async def test_a_renewed_token_never_replaces_a_consent_that_came_meanwhile(store: Store) -> None:
    await grants(store).renew(EU, "A1", "Atzr|of the file", "Atzr|1")
    await grants(store).renew(EU, "A1", "Atzr|1", "Atzr|2")
    assert (await grants(store).kept(EU, CLIENT)).refresh_token == "Atzr|2"
    await keep(store, "Atzr|consent")
    await grants(store).renew(EU, "A1", "Atzr|2", "Atzr|3")
    assert (await grants(store).kept(EU, CLIENT)).refresh_token == "Atzr|consent"
    await grants(store).renew(EU, "A1", "Atzr|consent", "Atzr|4")
    async with store.begin() as tx:
        state = (await grant.states(tx))[EU]
    assert (state.source, state.expires_at) == (Source.RENEWED, NOW)


async def test_tokens_that_change_at_each_use_are_kept_with_those_before(store: Store) -> None:
    vault, lives = grants(store), timedelta(days=90)
    await keep(store, "R0")
    for number in range(1, 8):
        assert await vault.renew(EU, "A1", f"R{number - 1}", f"R{number}", lives=lives)
    kept = await vault.kept(EU, CLIENT)
    assert (kept.refresh_token, kept.older) == ("R7", ("R6", "R5", "R4", "R3"))
    # Two were given for one and the same: both are kept.
    assert await vault.renew(EU, "A1", "R6", "a-secret-that-nobody-meets-by-chance", lives=lives)
    assert (await vault.kept(EU, CLIENT)).older[0] == "R7"
    assert not await vault.renew(EU, "A1", "R1", "R9", lives=lives)
    assert "a-secret-that-nobody-meets-by-chance" not in await raw(store)
    async with store.begin() as tx:
        state = (await grant.states(tx))[EU]
    assert state.expires_at is not None
    assert timedelta(days=89) < state.expires_at - datetime.now(UTC) <= lives
    await keep(store, "R10")
    kept = await vault.kept(EU, CLIENT)
    assert (kept.refresh_token, kept.older) == ("R10", ())


async def test_what_is_read_fresh_is_never_remembered(store: Store) -> None:
    running = grants(store, believed_s=3600)
    await keep(store, "R1")
    assert (await running.kept(EU, CLIENT)).refresh_token == "R1"
    await keep(store, "R2")
    assert (await running.kept(EU, CLIENT)).refresh_token == "R1"
    assert (await running.fresh(EU, CLIENT)).refresh_token == "R2"
    assert (await running.kept(EU, CLIENT)).refresh_token == "R2"
    away = Store("postgresql://nobody@127.0.0.1:9/nothing")
    running._store = away
    with pytest.raises(Transient, match="does not answer"):
        await running.fresh(EU, CLIENT)
    assert (await running.kept(EU, CLIENT)).refresh_token == "R2"
    await away.close()


async def test_a_missing_role_is_told_once_and_ends_with_a_success(store: Store) -> None:
    vault = grants(store)
    assert await vault.bar(EU, "getOrder", "no role", 3600)
    assert not await vault.bar(EU, "getOrder", "no role", 3600)
    kept = await vault.kept(EU, CLIENT)
    assert (dict(kept.barred), set(kept.lacking)) == ({"getOrder": "no role"}, {"getOrder"})
    await vault.bar(EU, "getOrder", "no role", -1)
    kept = await vault.kept(EU, CLIENT)
    assert (dict(kept.barred), set(kept.lacking)) == ({}, {"getOrder"})
    await vault.clear(EU, "getOrder")
    assert (await vault.kept(EU, CLIENT)).lacking == frozenset()


async def test_a_rotated_secret_goes_first_and_the_one_before_as_long_as_it_lives(store: Store) -> None:
    later, past = datetime.now(UTC) + timedelta(days=7), datetime.now(UTC) - timedelta(days=1)
    assert await secret(store, "one", NOW, later)
    assert (await grants(store).kept(EU, CLIENT)).secrets == ("one",)
    assert await secret(store, "two", NOW + timedelta(days=90), later)
    assert (await grants(store).kept(EU, CLIENT)).secrets == ("two", "one")
    assert await secret(store, "three", NOW + timedelta(days=180), past)
    assert (await grants(store).kept(EU, CLIENT)).secrets == ("three",)
    found = await raw(store)
    assert not any(word in found for word in ("'one'", "'two'", "'three'"))
    async with store.begin() as tx:
        assert await grant.secret_ends(tx) == {CLIENT: NOW + timedelta(days=180)}


async def test_a_notification_that_comes_twice_or_late_changes_nothing(store: Store) -> None:
    assert await secret(store, "one", NOW, None)
    assert await secret(store, "two", NOW + timedelta(days=1), None)
    assert not await secret(store, "two", NOW + timedelta(days=1), None)
    assert not await secret(store, "one", NOW, None)
    assert (await grants(store).kept(EU, CLIENT)).secrets == ("two", "one")


async def test_the_same_secret_ten_times_at_once_is_kept_once(store: Store) -> None:
    kept = await asyncio.gather(*(secret(store, "one", NOW, None) for _ in range(10)))
    assert sorted(kept) == [False] * 9 + [True]


async def test_keys_are_changed_without_a_moment_in_which_nothing_opens(store: Store) -> None:
    await keep(store, "Atzr|1", Keyring([OLD]))
    both = Keyring([NEW, OLD])
    async with store.begin() as tx:
        assert await grant.unopened(tx, RING) == [EU]
        assert await grant.unopened(tx, both) == []
        assert await grant.reseal(tx, both) == 1
        assert await grant.unopened(tx, RING) == []
        assert await grant.unopened(tx, Keyring([OLD])) == [EU]
    assert (await grants(store).kept(EU, CLIENT)).refresh_token == "Atzr|1"


async def test_what_no_key_opens_stops_a_rotation_of_keys_and_changes_nothing(store: Store) -> None:
    await keep(store, "Atzr|1", Keyring([OLD]))
    before = await raw(store)
    with pytest.raises(Unopened):
        async with store.begin() as tx:
            await grant.reseal(tx, RING)
    assert await raw(store) == before
    with pytest.raises(Unauthorized, match="cannot be opened"):
        await grants(store).kept(EU, CLIENT)


async def test_a_secret_that_has_run_out_needs_no_key_any_more(store: Store) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    async with store.begin() as tx:
        await grant.keep_secret(tx, Keyring([OLD]), CLIENT, "one", expires_at=NOW, previous_expires_at=None)
        both = Keyring([NEW, OLD])
        await grant.keep_secret(tx, both, CLIENT, "two", expires_at=NOW + timedelta(days=1), previous_expires_at=past)
        assert await grant.unopened(tx, RING) == []
        assert await grant.reseal(tx, RING) == 1
    assert (await grants(store).kept(EU, CLIENT)).secrets == ("two",)


async def test_a_database_that_is_away_takes_no_answer_of_the_platforms_with_it(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    away = Grants(Store("postgresql://nobody@127.0.0.1:1/none"), RING)
    await away.clear(EU, "getOrder")
    assert await away.bar(EU, "getOrder", "no role", 3600)
    assert [one.message for one in caplog.records] == ["grant.unwritten"] * 2
    with pytest.raises(Transient, match="does not answer"):
        await away.renew(EU, "A1", "Atzr|1", "Atzr|2")
    await away._store.close()


async def test_while_the_database_is_away_what_was_read_stays_true(store: Store) -> None:
    away = Store("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Transient, match="does not answer"):
        await Grants(away, RING).kept(EU, CLIENT)
    await keep(store, "Atzr|1")
    vault = grants(store)
    await vault.kept(EU, CLIENT)
    vault._store = away
    assert (await vault.kept(EU, CLIENT)).refresh_token == "Atzr|1"
    await away.close()
