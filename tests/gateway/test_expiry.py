"""Callers that become nobody while they are connected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.expiry import Expiry
from resolvers.context import Caller
from tests.gateway.conftest import until

LASTING = Caller("lasting", frozenset())


class Keys:
    """Counts how often each key is looked at."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.revoked: set[str] = set()

    async def still_valid(self, authorization: str) -> bool:
        self.asked.append(authorization)
        if authorization == "odd":
            raise RuntimeError("never seen before")
        return authorization not in self.revoked


def expiring(**within: float) -> Caller:
    return Caller("expiring", frozenset(), expires_at=datetime.now(UTC) + timedelta(**within))


async def test_a_caller_is_over_at_its_own_instant_and_not_before() -> None:
    keys: Any = Keys()
    expiry, told = Expiry(keys), list[str]()
    for name, caller in [
        ("soon", expiring(seconds=0.05)),
        ("past", expiring(seconds=-5)),
        ("late", expiring(days=400)),
    ]:
        expiry.watch(name, caller, lambda name=name: told.append(name))  # type: ignore[misc]  # bound at once
    left = expiry.watch("left", expiring(seconds=0.02), lambda: told.append("left"))
    expiry.forget(left)
    await until(lambda: told == ["past", "soon"])
    assert keys.asked == []


async def test_a_key_is_looked_at_once_for_all_its_connections() -> None:
    keys: Any = Keys()
    expiry, told = Expiry(keys, recheck_s=0.05), list[int]()
    watched = [expiry.watch("odd", LASTING, lambda: told.append(-1))]
    watched += [expiry.watch("a" if one % 2 else "b", LASTING, lambda one=one: told.append(one)) for one in range(6)]  # type: ignore[misc]  # bound at once
    await until(lambda: len(keys.asked) >= 6)
    assert sorted(keys.asked[:3]) == ["a", "b", "odd"]
    assert told == []
    keys.revoked.add("a")
    await until(lambda: sorted(told) == [1, 3, 5])
    looking = expiry._looking
    assert looking is not None
    for one in watched:
        assert not looking.done()
        expiry.forget(one)
    assert expiry._looking is None
    await until(looking.done)
