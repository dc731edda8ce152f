"""A new secret for the application, which Amazon wants each 180 days. Source: Application Management 2023-11-30."""

from __future__ import annotations

from adapters.amazon.client import Client
from domain.budget import Ask

SCOPE = "sellingpartnerapi::client_credential:rotation"


async def rotate_secret(client: Client, ask: Ask) -> str | None:
    """Ask for a new secret; Amazon's id of the call. The secret itself comes by APPLICATION_OAUTH_CLIENT_NEW_SECRET alone.

    Raises Invalid where the application has registered no queue for it, and OutcomeUnknown for an answer that was lost: asking
    again would make one more.
    """
    return await client.change_unanswered(
        "rotateApplicationClientSecret",
        "POST",
        "/applications/2023-11-30/clientSecret",
        ask,
        _go,
        scope=SCOPE,
    )


async def _go() -> None:
    """Nothing has to be recorded before: whoever asked is told what became of it."""
