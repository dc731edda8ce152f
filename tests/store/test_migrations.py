"""The migrations make the tables, and none of them holds the house up."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, Index, MetaData, Text, make_url, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from store import exchange, migrate
from store.session import driver_url
from store.tables import metadata

# All that `compare_metadata` looks at, and all that it does not: checks, defaults, identities, functions and triggers.
CATALOG = """
    select 'column', table_name || '.' || column_name,
        concat_ws(' ', data_type, is_nullable, column_default, is_identity, identity_start, identity_generation)
    from information_schema.columns where table_schema = 'public'
    union all
    select 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid)
    from pg_constraint where connamespace = 'public'::regnamespace
    union all
    select 'index', indexname, indexdef from pg_indexes where schemaname = 'public'
    union all
    select 'function', proname, prosrc from pg_proc where pronamespace = 'public'::regnamespace
    union all
    select 'trigger', tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
"""


async def on(url: str, work: Callable[[Connection], Any]) -> Any:
    engine = create_async_engine(driver_url(url), poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def is_ours(name: str | None, kind: str, parents: object) -> bool:
    """Months of the log of calls come and go like rows; the table that they are parts of is compared."""
    return kind != "table" or not exchange.MONTH.fullmatch(name or "")


def differences(connection: Connection, wanted: MetaData) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True, "include_name": is_ours})
    return list(compare_metadata(context, wanted))


def catalog(connection: Connection) -> set[tuple[str, str, str]]:
    rows = {(kind, name, definition) for kind, name, definition in connection.execute(text(CATALOG))}
    return {row for row in rows if "alembic_version" not in row[1]}


async def test_the_migrations_make_the_tables(database_url: str) -> None:
    assert await on(database_url, lambda connection: differences(connection, metadata)) == []


async def test_a_difference_would_be_found(database_url: str) -> None:
    """The twin."""
    other = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(other)
    other.tables["api_key"].append_column(Column("forgotten", Text))
    Index("order_channel_idx", other.tables["order"].c.channel)
    found = await on(database_url, lambda connection: differences(connection, other))
    assert sorted(change[0] for change in found) == ["add_column", "add_index"]


async def test_checks_defaults_identities_and_functions_are_the_same_too(new_database: Callable[[], str]) -> None:
    url = new_database()
    migrated = await on(url, catalog)

    def made_anew(connection: Connection) -> set[tuple[str, str, str]]:
        connection.execute(text("drop schema public cascade"))
        connection.execute(text("create schema public"))
        metadata.create_all(connection)
        return catalog(connection)

    assert migrated == await on(url, made_anew)
    assert {kind for kind, _, _ in migrated} == {"column", "constraint", "index", "function", "trigger"}
    assert any("CHECK" in definition for _, _, definition in migrated)

    def changed(connection: Connection) -> set[tuple[str, str, str]]:
        connection.execute(text("alter table order_line drop constraint order_line_counts_check"))
        return catalog(connection)

    assert migrated != await on(url, changed)


def statements(revision: str) -> list[str]:
    """What a migration sends, one statement each."""
    printed = io.StringIO()
    config = migrate.config()
    config.output_buffer = printed
    below = ScriptDirectory.from_config(config).get_revision(revision).down_revision or "base"
    assert isinstance(below, str)
    command.upgrade(config, f"{below}:{revision}", sql=True)
    return [one.strip() for one in re.sub(r"--.*", "", printed.getvalue()).split(";") if one.strip()]


def has_lock_timeout(sent: list[str]) -> bool:
    """Whether a lock timeout of two seconds is set before anything of ours is touched."""
    ours = [one for one in sent if one not in ("BEGIN", "COMMIT") and "alembic_version" not in one]
    return bool(ours) and ours[0].lower() == "set local lock_timeout = '2s'"


def revisions() -> list[str]:
    return [script.revision for script in ScriptDirectory.from_config(migrate.config()).walk_revisions()]


@pytest.mark.parametrize("revision", revisions())
def test_every_migration_sets_a_lock_timeout(revision: str) -> None:
    sent = statements(revision)
    assert len(sent) > 3
    assert has_lock_timeout(sent)
    without = [one for one in sent if "lock_timeout" not in one]
    assert not has_lock_timeout(without)


async def test_a_lock_that_is_not_to_be_had_stops_a_migration_and_leaves_nothing(
    new_database: Callable[[], str],
) -> None:
    url = new_database()

    def emptied(connection: Connection) -> None:
        connection.execute(text("drop schema public cascade"))
        connection.execute(text("create schema public"))
        connection.execute(text("create table other (id int)"))

    await on(url, emptied)
    engine = create_async_engine(driver_url(url), poolclass=pool.NullPool)
    async with engine.begin() as held:
        # The name is taken by a table whose making has not been committed: the migration must wait for it.
        await held.execute(text("create table api_key (id text)"))
        with pytest.raises(Exception, match="lock timeout"):
            await asyncio.to_thread(migrate.upgrade, url)
        await held.rollback()
    await engine.dispose()
    assert await asyncio.to_thread(migrate.current, url) is None
    await asyncio.to_thread(migrate.upgrade, url)
    assert await asyncio.to_thread(migrate.current, url) == migrate.head()


async def test_several_at_once_do_the_work_once(new_database: Callable[[], str]) -> None:
    url = new_database()

    def emptied(connection: Connection) -> None:
        connection.execute(text("drop schema public cascade"))
        connection.execute(text("create schema public"))

    await on(url, emptied)
    assert migrate.current(url) is None
    await asyncio.gather(*(asyncio.to_thread(migrate.upgrade, url) for _ in range(4)))
    assert migrate.current(url) == migrate.head() == revisions()[0]
    assert await on(url, lambda connection: differences(connection, metadata)) == []


def test_it_works_from_any_directory(database_url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    migrate.upgrade(database_url)
    assert migrate.current(make_url(database_url).render_as_string(hide_password=False)) == migrate.head()
