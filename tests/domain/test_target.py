"""Which addresses are called: public ones in their one usual spelling, and nothing that is a way around that."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.target import Reach, read_target, refusal

PUBLIC = Reach()
HERE = Reach(loopback=True)
OURS = Reach(private=frozenset({"events.internal", "10.1.2.3:8443"}))


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://hooks.example.com/acorn?a=b%20c", "hooks.example.com", 443),
        ("https://hooks.example.com", "hooks.example.com", 443),
        ("https://hooks.example.com:443/@here", "hooks.example.com", 443),
        ("https://93.184.215.14/x", "93.184.215.14", 443),
        ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/x", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", 443),
        ("https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example", 443),
    ],
)
def test_a_public_address_is_read(url: str, host: str, port: int) -> None:
    found = read_target(url, PUBLIC)
    assert (found.host, found.port, found.url) == (host, port, url)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "https:/hooks.example.com",
        "https://user:word@hooks.example.com/",
        "https://hooks.example.com@10.0.0.1/",
        "https://hooks.example.com#@10.0.0.1/",
        "https://hooks.example.com\\@10.0.0.1/",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:22/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com./",
        "https://HOOKS.example.com/",
        "https://münchen.example/",
        "https://１２７.0.0.1/",
        "https://hooks.example.com/ space",
        "https://hooks.example.com/\n",
        "https://hooks.example.com/%zz",
        "https://localhost/",
        "https://metadata/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1.0x0/",
        "https://010.0.0.1/",
        "https://1.2.3/",
        "https://1.2.3.4.5/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://168.63.129.16/",
        "https://100.100.100.200/",
        "https://224.0.0.1/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
        "https://198.18.0.1/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:5db8:d70e]/",
        "https://[::7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b:1::1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:5ef5:79fb::1]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fc00::1]/",
        "https://[fd00:ec2::254]/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
        "https://[::1/",
        "https://" + "a" * 2_000 + ".example/",
        "",
    ],
)
def test_everything_else_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(Invalid, match=r"This address is not called: \S"):
        read_target(url, PUBLIC)


def test_a_host_of_the_house_may_be_private_and_only_that_one() -> None:
    assert read_target("https://events.internal/x", OURS).host == "events.internal"
    assert refusal("10.0.0.5", OURS, "events.internal", 443) is None
    assert refusal("fc00::5", OURS, "events.internal", 443) is None
    assert refusal("10.0.0.5", OURS, "hooks.example.com", 443) is not None
    assert read_target("https://10.1.2.3:8443/", OURS).port == 8443
    with pytest.raises(Invalid):
        read_target("https://10.1.2.3/", OURS)
    metadata = ("169.254.169.254", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254")
    for never in ("127.0.0.1", *metadata, "224.0.0.1", "::ffff:10.0.0.5"):
        assert refusal(never, OURS, "events.internal", 443) is not None


def test_this_machine_is_called_in_development_and_nothing_else_without_tls() -> None:
    assert read_target("http://127.0.0.1:9/x", HERE).port == 9
    assert read_target("http://localhost:9/x", HERE).host == "localhost"
    assert refusal("127.0.0.1", HERE, "localhost", 9) is None
    for url in ("http://hooks.example.com/", "http://10.0.0.1/", "https://hooks.example.com:9/"):
        with pytest.raises(Invalid):
            read_target(url, HERE)


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_that_python_knows_not_to_be_public(ip: IPv4Address) -> None:
    if refusal(ip, PUBLIC, "name.example", 443) is None:
        assert ip.is_global
        assert not ip.is_multicast


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_passes_that_is_not_global_or_carries_an_ipv4_one(ip: IPv6Address) -> None:
    if refusal(ip, PUBLIC, "name.example", 443) is None:
        assert ip.is_global
        assert not ip.is_multicast
        assert ip.ipv4_mapped is None
        assert ip.sixtofour is None
        assert ip.teredo is None


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "64:ff9b::", "::", "2002::"]))
def test_no_ipv4_address_comes_in_dressed_as_another(ip: IPv4Address, prefix: str) -> None:
    number = int(ip) << 80 if prefix == "2002::" else int(ip)
    dressed = IPv6Address(int(IPv6Address(prefix)) | number)
    assert refusal(dressed, PUBLIC, "name.example", 443) is not None


@given(st.ip_addresses(network=ip_network("2606:4700::/32")))
def test_global_unicast_does_pass(ip: IPv6Address) -> None:
    """The twin."""
    assert refusal(ip, PUBLIC, "name.example", 443) is None


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=60))
def test_no_text_is_read_as_more_than_one_host(text: str) -> None:
    """Whatever passes has one authority that all readers agree on: no user, no second host, nothing to be unescaped."""
    try:
        found = read_target(f"https://{text}", PUBLIC)
    except Invalid:
        return
    authority = found.url.removeprefix("https://").partition("/")[0].partition("?")[0]
    assert authority in (found.host, f"{found.host}:443", f"[{found.host}]", f"[{found.host}]:443")
    assert found.url.isascii()
    assert found.url.isprintable()
