"""Scopes that more than one room goes by."""

from __future__ import annotations

WRITERS = frozenset(
    {
        "channels:write",
        "shipments:write",
        "refunds:write",
        "prices:write",
        "stock:write",
        "finance:write",
        "operations:approve",
        "admin",
    }
)
"""Whoever has one of these changes something beyond a check-out."""
INSIDERS = frozenset({"orders:read", "finance:read", "admin"}) | WRITERS
"""Whoever has one of these works here: no key of a shop has any."""
