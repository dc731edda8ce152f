"""Addresses that others have us call, and what behind them nobody may reach through us.

A name proves nothing: what is judged is the address that it leads to, at the moment of connecting (`adapters/outside.py`).
Of IPv6 only global unicast passes; what carries an IPv4 address within (mapped, 6to4, NAT64, Teredo) never does, since nobody
knows where it comes out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from domain.errors import Invalid

LONGEST = 2_000
HTTPS = 443
LOCALHOST = "localhost"

# Nothing that two readers of addresses take for different things: no user, no fragment, no backslash, no blank, no letter
# beyond ASCII (a name such as münchen.example is written xn--mnchen-3ya.example).
_PATH = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    rf"(?:/{_PATH})?(?:\?(?:{_PATH}|\?)*)?"
)
# What some take for an IPv4 address: 2130706433, 0x7f.1, 0177.0.0.1.
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")

# IANA's special-purpose registries (RFC 6890 and its updates), and the addresses of clouds that hand out credentials.
_METADATA = tuple(
    map(
        ip_network,
        (
            "169.254.169.254/32",
            "100.100.100.200/32",
            "168.63.129.16/32",
            "192.0.0.192/32",
            "fd00:ec2::/32",
            "fd20:ce::254/128",
        ),
    )
)
_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
_LOOPBACK = tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))
_SPECIAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "169.254.0.0/16",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
            "3fff::/20",
        ),
    )
)
_GLOBAL_V6 = ip_network("2000::/3")


@dataclass(frozen=True, slots=True)
class Reach:
    """How far we go. `ports` that may be called; `private` are hosts of the house's own network, `name` or `name:port`, that may
    lie at private addresses; `loopback`, for development, lets this machine be called, at any port and without TLS."""

    ports: frozenset[int] = frozenset({HTTPS})
    private: frozenset[str] = frozenset()
    loopback: bool = False

    def knows(self, host: str, port: int) -> bool:
        """Whether it is one of the house's own network."""
        return host in self.private or f"{host}:{port}" in self.private


@dataclass(frozen=True, slots=True)
class Target:
    """An address as it may be called, as far as its letters tell."""

    url: str = field(repr=False)  # a path or query may hold what opens the door
    scheme: str
    host: str
    port: int


def read_target(url: str, reach: Reach) -> Target:
    """What `url` says. Raises Invalid, with a reason, for what is never called."""
    found = _URL.fullmatch(url) if len(url) <= LONGEST else None
    if found is None:
        raise _refused(
            "write it like https://hooks.example.com/acorn: lower-case host, no user, no fragment, letters of ASCII, at most "
            f"{LONGEST} characters"
        )
    scheme, host = found["scheme"], found["host"].strip("[]")
    port = int(found["port"] or (HTTPS if scheme == "https" else 80))
    literal = _literal(host)
    near = reach.loopback and (host == LOCALHOST or (literal is not None and _within(literal, _LOOPBACK)))
    if scheme != "https" and not near:
        raise _refused("it must begin with https://")
    if not near and port not in reach.ports and f"{host}:{port}" not in reach.private:
        raise _refused(f"port {port} is not called; allowed are {', '.join(map(str, sorted(reach.ports)))}")
    if not 1 <= port <= 65_535:
        raise _refused(f"there is no port {port}")
    if literal is not None:
        if (why := refusal(literal, reach, host, port)) is not None:
            raise _refused(why)
    elif "." not in host and not near and not reach.knows(host, port):
        raise _refused(f"{host} is no full name such as hooks.example.com")
    return Target(url, scheme, host, port)


def refusal(address: str | IPv4Address | IPv6Address, reach: Reach, host: str, port: int) -> str | None:
    """Why the machine at `address`, which `host` led to, is not called; None where it may be."""
    try:
        ip = ip_address(address)
    except ValueError:
        return f"{host} leads to no address"
    if _within(ip, _METADATA):
        return f"{host} leads to {ip}, which hands out credentials"
    if _within(ip, _LOOPBACK):
        return None if reach.loopback else f"{host} leads to this very machine"
    if _within(ip, _PRIVATE):
        return None if reach.knows(host, port) else f"{host} leads to {ip}, an address of a private network"
    if _within(ip, _SPECIAL) or (ip.version == 6 and ip not in _GLOBAL_V6):
        return f"{host} leads to {ip}, which is no public address"
    return None


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is written as; None for a name. Raises Invalid for other spellings of addresses."""
    if ":" not in host and not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return ip_address(host)
    except ValueError:
        raise _refused(f"{host} is no name, and no address in its usual form") from None


def _within(ip: IPv4Address | IPv6Address, networks: tuple[object, ...]) -> bool:
    return any(ip in network for network in networks)  # type: ignore[operator]  # of either version


def _refused(why: str) -> Invalid:
    return Invalid(f"This address is not called: {why}.", field=("url",))
