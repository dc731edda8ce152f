"""What mutations answer when they refuse."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from domain.errors import Refused


@strawberry.type(description="Why something was refused, in words for people and a code for programs.")
class UserError:
    code: str
    message: str
    field: list[str] | None = strawberry.field(default=None, description="The path of the input it concerns.")


def user_errors(problems: Sequence[Refused], at: tuple[str, ...] = ()) -> list[UserError]:
    """Refusals as the contract tells them; `at` is the argument that their fields lie in."""
    return [
        UserError(code=one.code, message=one.message, field=[*at, *one.field] if one.field else None)
        for one in problems
    ]
