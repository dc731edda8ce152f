"""What an answer says of the shop's rate limit.

Source: draft-ietf-httpapi-ratelimit-headers-11, `RateLimit-Policy: "default";q=100;w=60` and `RateLimit: "default";r=42;t=17`,
and the two forms of its older versions that are still met: `RateLimit: limit=100, remaining=42, reset=17` and the three
fields `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

# One member of a structured list: a string or a token, then parameters. Quoted strings may hold commas and semicolons.
_STRING = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf"(?:{_STRING}|[^\s,;]+)"
_NAME = r"[a-z*][a-z0-9_.*-]*"
_MEMBER = re.compile(rf'\s*({_STRING}|[^\s,;="]+)((?:\s*;\s*{_NAME}(?:={_VALUE})?)*)\s*(?:,|$)')
_PARAMETER = re.compile(rf";\s*({_NAME})=({_VALUE})")
_PAIR = re.compile(r"([a-z-]+)\s*=\s*([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Limit:
    """`quota` calls in `window_s` seconds, of which `remaining` are left for the next `reset_s`. None is what was not told."""

    quota: float | None = None
    window_s: float | None = None
    remaining: float | None = None
    reset_s: float | None = None

    @property
    def rate(self) -> float | None:
        """Calls a second that the quota is worth."""
        return self.quota / self.window_s if self.quota and self.window_s else None

    @property
    def tokens(self) -> float | None:
        """Calls that a bucket which goes on filling at `rate` may hold now, so that no more than `remaining` are made before the
        reset: below zero where the quota was used up ahead of time. It keeps to windows that jump, that slide, and to buckets.
        """
        if self.remaining is None or self.rate is None or self.reset_s is None:
            return self.remaining
        return self.remaining - self.rate * min(self.reset_s, self.window_s or self.reset_s)


def limit_of(headers: Mapping[str, str]) -> Limit | None:
    """The tightest limit that an answer tells; None where it tells none, or nothing that can be read."""
    told = headers.get("RateLimit", "")
    policies, states = _members(headers.get("RateLimit-Policy", "")), _members(told)
    limits = [
        Limit(policies.get(name, {}).get("q"), policies.get(name, {}).get("w"), state.get("r"), state.get("t"))
        for name, state in states.items()
        if "r" in state
    ]
    limits += [Limit(one.get("q"), one.get("w")) for name, one in policies.items() if "q" in one and name not in states]
    return min(limits, key=_tightness, default=None) or _older(told, headers)


def _tightness(one: Limit) -> tuple[float, float]:
    tokens = one.tokens
    return math.inf if tokens is None else tokens, one.rate or math.inf


def _older(told: str, headers: Mapping[str, str]) -> Limit | None:
    """The quota of these comes without its window, unless as `100, 100;w=60`."""
    pairs = dict(_PAIR.findall(told)) or {
        name: first.group()
        for name in ("limit", "remaining", "reset")
        if (first := re.match(r"[0-9.]+", headers.get(f"RateLimit-{name.title()}", "").strip()))
    }
    if "remaining" not in pairs:
        return None
    window = re.search(r";\s*w=([0-9]+)", headers.get("RateLimit-Limit", "") + headers.get("RateLimit-Policy", ""))
    return Limit(
        _number(pairs.get("limit")),
        _number(window.group(1)) if window else None,
        _number(pairs["remaining"]),
        _number(pairs.get("reset")),
    )


def _members(text: str) -> dict[str, dict[str, float]]:
    """Numeric parameters by the member's name; nothing for a list that is malformed anywhere."""
    found: dict[str, dict[str, float]] = {}
    place = 0
    while place < len(text):
        member = _MEMBER.match(text, place)
        if member is None or member.end() == place:
            return {}
        numbers = {name: _number(value) for name, value in _PARAMETER.findall(member.group(2))}
        found[member.group(1).strip('"')] = {name: value for name, value in numbers.items() if value is not None}
        place = member.end()
    return found


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
