"""A consent as its people meet it: from the command line or a link, over the platform's page, back to the gateway."""

from __future__ import annotations

import asyncio
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text
from typer.testing import CliRunner, Result

from domain.ids import ChannelId
from gateway import cli
from gateway.settings import Settings
from store.keyring import Keyring
from store.session import Store
from tests.gateway.conftest import Gateway

KEY = Fernet.generate_key().decode()
RING = Keyring([KEY])


@dataclass(slots=True)
class Visit:
    """A gateway, a platform's sandbox, and a browser that has seen neither."""

    gateway: Gateway
    platform: httpx.AsyncClient
    settings: Settings
    folder: Path

    @property
    def store(self) -> Store:
        return self.gateway.store

    def browser(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(follow_redirects=True, trust_env=False, timeout=20)

    async def control(self, path: str, body: dict[str, Any]) -> None:
        (await self.platform.post(f"/_sandbox/{path}", json=body)).raise_for_status()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "ACORN_DATABASE_URL": self.settings.database_url.get_secret_value(),
            "ACORN_REDIS_URL": self.settings.redis_url.get_secret_value(),
            "ACORN_CONFIG": str(self.settings.config),
            "ACORN_KEYS": KEY,
            "ACORN_PORT": str(httpx.URL(self.gateway.url).port),
        }

    async def command(self, *arguments: str, stdin: str | None = None) -> Result:
        """`acorn` in a thread of its own: the gateway goes on beside it."""
        return await asyncio.to_thread(CliRunner().invoke, cli.app, list(arguments), input=stdin, env=self.environ)

    async def authorize(
        self, platform: str, id: ChannelId, monkeypatch: pytest.MonkeyPatch
    ) -> tuple[httpx.Response, Result]:
        """`acorn channels authorize --open`: the page that its browser ends at, and what the command tells; its first line is
        the page that it opened."""
        loop, opened = asyncio.get_running_loop(), asyncio.Queue[str]()
        monkeypatch.setattr(webbrowser, "open", lambda url: loop.call_soon_threadsafe(opened.put_nowait, url))
        command = asyncio.create_task(self.command("channels", "authorize", platform, id, "--open"))
        async with asyncio.timeout(60), self.browser() as browser:
            page = await browser.get(url := await opened.get())
        assert page.status_code == 200, page.text
        told = await command
        assert (told.exit_code, told.stdout.splitlines()[0]) == (0, url)
        return page, told

    async def kept(self, id: ChannelId) -> str | None:
        """What the channel's consent has given."""
        async with self.store.begin() as tx:
            sealed = await tx.scalar(text("select sealed from account_grant where channel = :id"), {"id": id})
        return None if sealed is None else RING.open(id, sealed)
