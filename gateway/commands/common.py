"""What commands share: settings, the house, and saying no. All import what they need themselves, so that `--help` answers
at once."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, Protocol, TypeVar

import typer

from gateway.settings import Settings, SettingsError, read_settings, unread_names

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.wiring import House
    from store.session import Store

T = TypeVar("T")


def told_settings() -> Settings:
    """The settings, with logs going where they say."""
    from gateway import logs

    try:
        settings = read_settings()
    except SettingsError as problem:
        fail(str(problem))
    logs.set_up(settings.log_level, settings.log_format)
    return settings


def warn_of_unread(settings: Settings) -> None:
    """Log which variables look like settings and are none."""
    import logging

    for name, do in unread_names(settings.config).items():
        logging.getLogger(__name__).warning("settings.unknown", extra={"setting": name, "advice": do})


def told_config(settings: Settings) -> Config:
    from gateway.config import ConfigError, read_config

    try:
        return read_config(settings.config)
    except ConfigError as problem:
        fail(str(problem))


def ready(settings: Settings) -> Settings:
    """Settings of a house that can stand: its channels are sound, its database is at the newest schema."""
    from store import migrate as migrations

    told_config(settings)
    current = asked_database(lambda: migrations.current(settings.database_url.get_secret_value()))
    if current != migrations.head():
        fail(f"The database is at {current or 'nothing'}, this version needs {migrations.head()}. Run `acorn migrate`.")
    if names := with_store(partial(_unopened, settings)):
        fail(
            f"What is kept for {', '.join(names)} cannot be opened with ACORN_KEYS. Put the key back that it was kept under, "
            "behind the newest, and run `acorn channels rotate-keys` before taking it out."
        )
    return settings


async def _unopened(settings: Settings, store: Store) -> list[str]:
    """Whose secrets none of the keys opens."""
    from gateway.wiring import keyring
    from store import grant

    async with store.begin() as tx:
        return await grant.unopened(tx, keyring(settings))


def asked_database(ask: Callable[[], T]) -> T:
    from store.session import UNAVAILABLE, why

    try:
        return ask()
    except BrokenPipeError:
        raise  # Not the database: whoever reads what we print has read enough, as `head` does.
    except UNAVAILABLE as problem:
        fail(f"The database does not answer ({why(problem)}). Check ACORN_DATABASE_URL and that it runs.")


def with_store(work: Callable[..., Awaitable[T]]) -> T:
    """What `work` answers, given connections to the database."""
    from store.session import Store

    settings = told_settings()

    async def run() -> T:
        store = Store(settings.database_url.get_secret_value(), pool_size=1)
        try:
            return await work(store)
        finally:
            await store.close()

    return asked_database(lambda: asyncio.run(run()))


def with_house(work: Callable[[House], Awaitable[T]]) -> T:
    """What `work` answers, given the whole house. What the house refuses is told."""
    import logging

    from domain.errors import HouseError
    from gateway.wiring import build_house

    settings = ready(told_settings())
    # Who runs a command reads its own words; that all went well is no news beside them.
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLogger().level))

    async def run() -> T:
        house = await build_house(settings)
        try:
            return await work(house)
        finally:
            await house.close()

    try:
        return asked_database(lambda: asyncio.run(run()))
    except HouseError as problem:
        fail(problem.message)


def fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, to read from; where it cannot be opened that is told."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
        except OSError as problem:
            fail(f"{path} cannot be read: {problem.strerror}.")
        yield file


@contextlib.contextmanager
def report_to(
    path: Path | None, columns: Sequence[str], row_of: Callable[[T], Sequence[object]]
) -> Iterator[Callable[[T], None]]:
    """Where each row's outcome is told as CSV: in the file, by default on the standard output."""
    import csv

    with contextlib.ExitStack() as stack:
        try:
            out = sys.stdout if path is None else stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        except OSError as problem:
            fail(f"{path} cannot be written: {problem.strerror}.")
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(columns)
        yield lambda outcome: rows.writerow(row_of(outcome))


class Bytes(Protocol):
    """Tells how many bytes are done, of what, and of how many where these are not the file's own."""

    def __call__(self, done: int, what: str = "", total: int = 0) -> None: ...


@contextlib.contextmanager
def bytes_of(file: Path, *, wanted: bool = True) -> Iterator[Bytes]:
    """A bar of the bytes of a file that are done, on the standard error, where somebody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not (wanted and console.is_terminal), transient=True) as progress:
        size = file.stat().st_size
        bar = progress.add_task(file.name, total=size)

        def tell(done: int, what: str = "", total: int = 0) -> None:
            name = f"{file.name}: {what}" if what else file.name
            progress.update(bar, description=name, completed=done, total=total or size)

        yield tell


def user(command: str) -> str:
    """Who runs the command; an account without a name is nobody in particular."""
    import getpass

    try:
        return f"{getpass.getuser()} ({command})"
    except (KeyError, OSError):
        return command
