"""Secrets at rest: encrypted under the newest of several keys, opened with any of them."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Sequence

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from domain.errors import Invalid, Unauthorized


class Unopened(Unauthorized):
    """A secret is kept that none of our keys opens."""


class Keyring:
    """Fernet keys (AES-128 and HMAC), newest first; there may be none as long as nothing is kept.

    What is sealed carries its name, so that one row's secret is never taken for another's. Raises Invalid for what is no key.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        try:
            self._keys = [Fernet(key) for key in keys]
            self._secrets = tuple(keys)
        except ValueError:
            raise Invalid("A key must be 32 bytes in URL-safe base64; `acorn channels new-key` makes one.") from None

    def check(self) -> None:
        """Raises Invalid when there is no key to seal anything with."""
        if not self._keys:
            raise Invalid(
                "ACORN_KEYS is not set, so no secret can be kept. Make a key with `acorn channels new-key` and put it into "
                "the environment of every process."
            )

    def seal(self, name: str, secret: str) -> str:
        """`secret` under the newest key. Raises Invalid without one."""
        self.check()
        return MultiFernet(self._keys).encrypt(orjson.dumps([name, secret])).decode()

    def open(self, name: str, sealed: str) -> str:
        """What was sealed under `name`. Raises Unopened."""
        if self._keys:
            try:
                found, secret = orjson.loads(MultiFernet(self._keys).decrypt(sealed))
            except InvalidToken:
                found, secret = None, ""
            if found == name:
                return str(secret)
        raise Unopened(
            f"What is kept for {name} cannot be opened with ACORN_KEYS. Put the key back under which it was kept, behind the "
            "newest; or authorize the account again."
        )

    def unopened(self, kept: Iterable[tuple[str, str]]) -> list[str]:
        """The names, each once, of those of (name, sealed) that none of our keys opens."""
        found: dict[str, None] = {}
        for name, sealed in kept:
            try:
                self.open(name, sealed)
            except Unopened:
                found[name] = None
        return list(found)

    def sign(self, name: str, text: str) -> str:
        """A signature of `text` under the newest key, good for what is called `name` alone. Raises Invalid without one."""
        self.check()
        return self._signatures(name, text)[0]

    def signed(self, name: str, text: str, signature: str) -> bool:
        """Whether any of our keys has signed this, under this name."""
        return any(hmac.compare_digest(one, signature) for one in self._signatures(name, text))

    def _signatures(self, name: str, text: str) -> list[str]:
        # Each use has a key of its own, made of ours, so that none can be taken for another's.
        keys = (hmac.digest(base64.urlsafe_b64decode(key), f"acorn {name}".encode(), "sha256") for key in self._secrets)
        return [hmac.new(key, text.encode(), "sha256").hexdigest() for key in keys]

    def anew(self, name: str, sealed: str) -> str:
        """The same secret under the newest key. Raises Unopened."""
        return self.seal(name, self.open(name, sealed))
