"""Hosts a plugin may call: how they are written, and which addresses are never reached by accident."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_KINDS_4 = {
    "unspecified": ["0.0.0.0/8"],
    "private": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
    "shared": ["100.64.0.0/10"],
    "loopback": ["127.0.0.0/8"],
    "link-local": ["169.254.0.0/16"],
    "multicast": ["224.0.0.0/4"],
    "reserved": [
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
    ],
}
_KINDS_6 = {
    "unspecified": ["::/128"],
    "loopback": ["::1/128"],
    "private": ["fc00::/7"],
    "link-local": ["fe80::/10"],
    "multicast": ["ff00::/8"],
    # Parts of the public range that lead elsewhere: tunnels into IPv4 and examples.
    "reserved": ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"],
}
_RANGES_4 = [(ipaddress.IPv4Network(text), kind) for kind, texts in _KINDS_4.items() for text in texts]
_RANGES_6 = [(ipaddress.IPv6Network(text), kind) for kind, texts in _KINDS_6.items() for text in texts]
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One entry of `allowed_hosts`: `[http://|https://]HOST[:PORT]`, where HOST may begin with `*.`.

    Without a port the scheme's own holds, without a scheme both hold. `*.example.com` is any name below
    example.com and not example.com itself.

    >>> HostPattern.read("*.example.com").allows("https", "api.example.com", 443)
    True
    >>> HostPattern.read("*.example.com").allows("https", "example.com", 443)
    False
    """

    text: str
    scheme: str | None
    host: str
    port: int | None
    below: bool

    @classmethod
    def read(cls, text: str) -> HostPattern:
        """Return the pattern that a text spells, or say what is wrong with the text."""
        scheme, found, rest = text.lower().rpartition("://")
        if found and scheme not in PORTS:
            raise ValueError(f"{text!r}: only http and https can be called")
        if "/" in rest or "@" in rest:
            raise ValueError(f"{text!r} is not a host; write `api.example.com` or `api.example.com:8443` and no path")
        host, port = _split(rest, text)
        below = host.startswith("*.")
        name = canonical(host[2:] if below else host)
        if name is None or (below and (address_of(name) is not None or "." not in name)):
            raise ValueError(
                f"{text!r} is not a host such as `api.example.com`, `*.example.com`, `localhost:8080` or `[::1]:8080`"
            )
        return cls(text, scheme if found else None, name, port, below)

    @property
    def literal(self) -> bool:
        """Whether the user wrote this very address, or this very host and port, so that it may be a private one."""
        return not self.below and (self.port is not None or address_of(self.host) is not None)

    def allows(self, scheme: str, host: str, port: int) -> bool:
        """Whether a URL's scheme, canonical host and port fit."""
        if self.scheme not in (None, scheme) or port != (self.port or PORTS[scheme]):
            return False
        return host.endswith("." + self.host) if self.below else host == self.host


def canonical(host: str) -> str | None:
    """Return a host as it is compared: lower case, ASCII, an address in its one spelling; None if it is none."""
    if host.startswith("[") and host.endswith("]"):
        found = address_of(host[1:-1])
        return str(found) if isinstance(found, ipaddress.IPv6Address) else None
    address = address_of(host)
    if address is not None:
        return str(address)
    try:
        name = host.rstrip(".").lower().encode("idna").decode() if not host.isascii() else host.rstrip(".").lower()
    except UnicodeError:
        return None
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        return None
    # `127.1` and `0x7f000001` are addresses to a resolver, though not to us.
    last = name.rpartition(".")[2]
    return None if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) else name


def address_of(text: str) -> Address | None:
    """Return the address that a text spells in full."""
    try:
        return ipaddress.ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def kind_of(address: Address) -> str | None:
    """Return what an address is for if it is not one of the public network: `private`, `loopback` ..."""
    if isinstance(address, ipaddress.IPv4Address):
        return next((kind for network, kind in _RANGES_4 if address in network), None)
    if address.ipv4_mapped is not None:
        return f"IPv4-mapped {kind_of(address.ipv4_mapped) or 'IPv4'}"
    kind = next((kind for network, kind in _RANGES_6 if address in network), None)
    return kind or (None if address in _PUBLIC_6 else "reserved")


def first_match(patterns: Iterable[HostPattern], scheme: str, host: str, port: int) -> HostPattern | None:
    """Return the pattern that lets a URL pass, one that was written out before one with `*`."""
    fitting = [pattern for pattern in patterns if pattern.allows(scheme, host, port)]
    return min(fitting, key=lambda pattern: (not pattern.literal, pattern.below), default=None)


def _split(rest: str, text: str) -> tuple[str, int | None]:
    if rest.startswith("["):
        host, bracket, tail = rest.partition("]")
        host += bracket
    elif rest.count(":") > 1:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, as `[::1]:8080`")
    else:
        host, colon, tail = rest.partition(":")
        tail = colon + tail
    if not tail:
        return host, None
    port = int(tail[1:]) if re.fullmatch(r":[0-9]{1,5}", tail) else 0
    if not 1 <= port <= 65535:
        raise ValueError(f"{text!r}: the port is not a number from 1 to 65535")
    return host, port
