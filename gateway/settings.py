"""What a process is told from outside, by the environment or `.env`; read once, below the roof values arrive as arguments."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "ACORN_"
ENV_FILE = Path(".env")
# What others read: docker-compose.yml, `acorn conformance`, rehearsed crashes, tests, benchmarks.
READ_ELSEWHERE = frozenset(
    {
        "ACORN_DATABASE_PASSWORD",
        "ACORN_CONFORMANCE_TOKEN",
        "ACORN_CONFORMANCE_SECRET",
        "ACORN_CRASH_AT",
        "ACORN_CONTRACTS",
        "ACORN_GRAPHQL_CORE_TESTS",
        "ACORN_TEST_DELIVERIES",
        "ACORN_BENCH_MODULES",
    }
)

# What to write when a setting is missing.
EXAMPLES: Mapping[str, str] = {
    "database_url": "postgresql://acorn:secret@localhost:5432/acorn",
    "redis_url": "redis://localhost:6379/0",
}
# What the extra `tracing` installs; the parents of both are there in any case.
TRACING_NEEDS = ("opentelemetry.sdk", "opentelemetry.exporter")
# In lower case and without a path. `*` and `null` would stand for anybody.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")
# This machine: what goes there goes no further.
OUR_HOSTS = ("localhost", "127.0.0.1", "::1")
# Signatures of key pairs only: a published key that were taken for an HMAC secret would let anybody sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# What a key may be given a minute; beyond it sums are no longer exact everywhere.
MOST_POINTS = 10**12
MOST_CALLS = 10**9
PORT_WANTED = "must be a number from 1 to 65535, such as 8000."


def unread_on_the_way(address: str) -> bool:
    """Whether nobody can read what goes to this address: by https, or by plain http on this machine."""
    parts = urlsplit(address)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in OUR_HOSTS)
    return safe and parts.hostname is not None


class SettingsError(Exception):
    """Settings that a process cannot start with; the message names each and says what to do."""


class Settings(BaseSettings):
    """Every setting; `docs/configuration.md` describes them, and a test holds that it names them all."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, frozen=True, extra="ignore", env_ignore_empty=True
    )

    database_url: SecretStr
    redis_url: SecretStr
    config: Path = Path("acorn.toml")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65_535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    graphiql: bool = True
    graphiql_key: SecretStr = SecretStr("")
    deadline_s: float = Field(default=10.0, gt=0, le=30)
    body_limit_kib: int = Field(default=100, ge=1, le=10_240)
    database_pool: int = Field(default=10, ge=1, le=1_000)
    connection_limit: int = Field(default=5_000, ge=10)
    stop_within_s: int = Field(default=10, ge=1, le=600)
    arq: bool = True
    key_points_per_minute: int = Field(default=10_000_000, ge=0, le=MOST_POINTS)
    key_calls_per_minute: int = Field(default=600, ge=0, le=MOST_CALLS)
    call_bodies: bool = True
    call_months: int = Field(default=12, ge=1, le=18)
    keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    documents: Literal["any", "trusted"] = "any"
    answer_cache_s: float = Field(default=1.0, ge=0, le=60)
    public_max_age_s: int = Field(default=1, ge=0, le=3_600)
    webhook_ports: Annotated[tuple[str, ...], NoDecode] = ("443",)
    webhook_private_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    webhook_loopback: bool = False
    webhook_source: str = "/acorn"
    webhook_days: int = Field(default=30, ge=1, le=400)
    tracing: Literal["off", "otlp"] = "off"
    tracing_endpoint: str = "http://localhost:4318"
    tracing_share: float = Field(default=0.01, ge=0, le=1)
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_jwks: str = Field(default="", validate_default=True)
    jwt_algorithms: Annotated[tuple[str, ...], NoDecode] = ("RS256", "ES256")

    @field_validator("database_url")
    @classmethod
    def _of_postgresql(cls, value: SecretStr) -> SecretStr:
        from sqlalchemy.exc import ArgumentError

        from store.session import driver_url

        try:
            driver_url(value.get_secret_value())
        except (ArgumentError, ValueError):
            raise ValueError(f"it must be a PostgreSQL URL such as {EXAMPLES['database_url']}") from None
        return value

    @field_validator("redis_url")
    @classmethod
    def _of_redis(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError(f"it must be a Redis URL such as {EXAMPLES['redis_url']}")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _as_browsers_write_them(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin such as https://dashboard.example.com")
        return value

    @field_validator("keys")
    @classmethod
    def _of_a_ring(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        from domain.errors import Invalid
        from store.keyring import Keyring

        try:
            Keyring([one.get_secret_value() for one in value])
        except Invalid as problem:
            raise ValueError(problem.message.rstrip(".")) from None
        return value

    @field_validator("tracing")
    @classmethod
    def _installed(cls, value: str) -> str:
        if value != "off" and not all(map(find_spec, TRACING_NEEDS)):
            raise ValueError('it needs more than is installed: pip install "acorn-gateway[tracing]"')
        return value

    @field_validator("tracing_endpoint")
    @classmethod
    def _of_a_collector(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("it must be a collector's address such as http://localhost:4318")
        return value.rstrip("/")

    @field_validator("jwt_jwks")
    @classmethod
    def _of_an_issuer(cls, value: str, given: ValidationInfo) -> str:
        if not bool(value) == bool(given.data.get("jwt_issuer")) == bool(given.data.get("jwt_audience")):
            raise ValueError("it, ACORN_JWT_ISSUER and ACORN_JWT_AUDIENCE are set together or not at all")
        if "://" in value and not unread_on_the_way(value):
            raise ValueError("it must be an https address, or a file")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _of_key_pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not {*value} <= {*ALGORITHMS}:
            raise ValueError(f"it must name some of {', '.join(ALGORITHMS)}, separated by commas")
        return value

    @field_validator("webhook_ports")
    @classmethod
    def _ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(one.isascii() and one.isdigit() and 1 <= int(one) <= 65_535 for one in value):
            raise ValueError("it must be ports such as 443,8443")
        return value

    @field_validator("webhook_private_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not re.fullmatch(r"([a-z0-9.-]+|[0-9a-f:]+)(:[0-9]{1,5})?", one):
                raise ValueError(f"{one!r} is no host such as events.internal or events.internal:8443")
        return value

    @field_validator("webhook_source")
    @classmethod
    def _as_in_addresses(cls, value: str) -> str:
        if not re.fullmatch(r"[\x21-\x7e]{1,200}", value):
            raise ValueError("it must be a URI or the path of one, such as /acorn or https://shop.example/acorn")
        return value

    @field_validator(
        "allowed_origins",
        "trusted_proxies",
        "jwt_algorithms",
        "keys",
        "webhook_ports",
        "webhook_private_hosts",
        mode="before",
    )
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """A list in the environment is separated by commas."""
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value


def read_settings(*, env_file: Path | None = ENV_FILE) -> Settings:
    """The settings of this process. Raises SettingsError, which names what is missing and never tells a value."""
    try:
        return Settings(_env_file=env_file)  # type: ignore[call-arg]  # the rest comes from the environment
    except ValidationError as problem:
        raise SettingsError("\n".join(_told(error) for error in problem.errors())) from None


def unread_names(config: Path, *, env_file: Path | None = ENV_FILE) -> dict[str, str]:
    """The `ACORN_…` variables that are set and that nobody reads, each with what to do. `config` names variables of its own."""
    ours = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    named = re.findall(r"env:(\w+)", config.read_text(encoding="utf-8", errors="replace")) if config.is_file() else []
    told = {**(dotenv_values(env_file) if env_file else {}), **os.environ}
    unread = {
        name
        for name, value in told.items()
        if value
        and name.upper().startswith(PREFIX)
        and name not in named
        and name.upper() not in {*ours, *READ_ELSEWHERE}
    }
    near = {name: get_close_matches(name.upper(), ours, n=1) for name in sorted(unread)}
    return {
        name: f"Did you mean {one[0]}?" if one else "docs/configuration.md names all." for name, one in near.items()
    }


def _told(error: Any) -> str:
    """One problem in words. The value stays out: it may be a secret."""
    field = str(error["loc"][0])
    name = f"{PREFIX}{field.upper()}"
    if error["type"] == "missing":
        example = EXAMPLES.get(field, "…")
        return f"{name} is not set. Put it into the environment or into .env, such as {name}={example}"
    if field == "port":
        return f"{name} {PORT_WANTED}"
    return f"{name} cannot be used: {error['msg'].removeprefix('Value error, ')}. See docs/configuration.md."
