"""Compare the contract with the one of the last release, and name what would break or surprise its clients.

schema/released.graphql is the contract as it was last released; `make released` takes today's for it when a version is cut. A
breaking change fails the check, unless schema/breaking.toml gives the reason for it.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from graphql import build_schema, find_breaking_changes, find_dangerous_changes

FOLDER = Path(__file__).resolve().parent.parent / "schema"
RELEASED = FOLDER / "released.graphql"
TODAY = FOLDER / "schema.graphql"
ACCEPTED = FOLDER / "breaking.toml"
NOTE = "# The contract as it was last released; `make released` takes today's when a version is cut.\n"
NO_REASONS = """\
# Breaking changes since the last release that were decided, each with its reason:
#   "Stock.onHand was removed." = "Nobody asked for it in a year; levels say it."
# The words are those that `make check` tells. `make released` empties the list.
"""


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs, in words: what stops clients from working, and what they may not expect, such as a new enum value."""

    breaking: list[str]
    dangerous: list[str]


def changes(released: str, today: str) -> Changes:
    """Between two schemas in GraphQL's own language."""
    old, new = build_schema(released), build_schema(today)
    return Changes(
        [one.description for one in find_breaking_changes(old, new)],
        [one.description for one in find_dangerous_changes(old, new)],
    )


def problems(found: Changes, accepted: Mapping[str, object]) -> list[str]:
    """Why the check fails; empty when it does not."""
    told = [f"Breaking: {one}" for one in found.breaking if one not in accepted]
    told += [f"{one!r} has no reason in words." for one, why in accepted.items() if not isinstance(why, str) or not why]
    told += [f"{one!r} is no breaking change since the last release." for one in accepted if one not in found.breaking]
    return told


def check() -> int:
    """0 when nothing breaks that has no reason; everything found is told on the standard error."""
    accepted = tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))
    found = changes(RELEASED.read_text(encoding="utf-8"), TODAY.read_text(encoding="utf-8"))
    told = [f"Dangerous: {one}" for one in found.dangerous]
    told += [f"Breaking, with a reason: {one} {accepted[one]}" for one in found.breaking if one in accepted]
    wrong = problems(found, accepted)
    sys.stderr.writelines(f"{one}\n" for one in (*told, *wrong))
    if wrong:
        sys.stderr.write("Mend the change, or give its reason in schema/breaking.toml.\n")
    return 1 if wrong else 0


def release() -> int:
    """Take today's contract for the released one."""
    RELEASED.write_text(NOTE + TODAY.read_text(encoding="utf-8"), encoding="utf-8")
    ACCEPTED.write_text(NO_REASONS, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(release() if "--release" in sys.argv[1:] else check())
