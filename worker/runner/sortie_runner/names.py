"""Names without a resolver: the egress gate alone resolves them. Here each gets an address that only stands for it, so
that what looks a name up before it connects (which is nearly everything) works as ever."""

import ipaddress
import os
import re
import socket
import threading
from typing import Any

import _socket

LOOPBACK = "127.0.0.1"
# Addresses that stand for names: a range for benchmarks (RFC 2544), which no server on the internet has.
STAND_INS = ipaddress.ip_network("198.18.0.0/15")
NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
# What stands for "this machine" where one connects to.
HERE = ("", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")

# The original, which is asked about addresses only.
raw_getaddrinfo = _socket.getaddrinfo


class Names:
    """Which address stands for which name. Names keep theirs for as long as the process lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def address(self, name: str) -> str:
        """The address that stands for `name`."""
        with self._lock:
            address = self._addresses.get(name)
            if address is None:
                # Not the first address of the range, which names the range itself.
                number = len(self._addresses) + 1
                if number >= STAND_INS.num_addresses:
                    raise socket.gaierror(socket.EAI_AGAIN, "the handler has asked for too many names")
                address = str(STAND_INS[number])
                self._addresses[name] = address
                self._names[address] = name
            return address

    def name(self, address: str) -> str | None:
        """The name that an address stands for."""
        return self._names.get(address)


names = Names()


def normal(host: str | bytes | bytearray) -> str:
    """A host name in the one form in which the gate is asked for it."""
    try:
        text = host if isinstance(host, str) else bytes(host).decode("ascii")
        if not text.isascii():
            text = text.encode("idna").decode("ascii")
    except UnicodeError:
        text = ""
    text = text.lower().removesuffix(".")
    if not NAME.fullmatch(text):
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a host name")
    return text


def numeric(host: str | bytes | bytearray, family: int) -> str:
    """The address for `host`, which may be one already, in whatever spelling; of the family if it is given."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else host
    if text.lower().removesuffix(".") in HERE or text == socket.gethostname():
        return "::1" if family == socket.AF_INET6 else LOOPBACK
    if text.isascii() and "\0" not in text:
        try:
            entry = raw_getaddrinfo(text, None, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0]
        except (socket.gaierror, UnicodeError):
            pass
        else:
            address = str(entry[4][0])
            mapped = family == socket.AF_INET6 and entry[0] == socket.AF_INET
            return f"::ffff:{address}" if mapped else address
    address = names.address(normal(host))
    return f"::ffff:{address}" if family == socket.AF_INET6 else address


def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> list[Any]:
    """`socket.getaddrinfo` without asking anybody: names get the address that stands for them."""
    if host is not None and not flags & socket.AI_NUMERICHOST and (host or not flags & socket.AI_PASSIVE):
        host, asked = numeric(host, family), host
        # A numeric address whose family isn't the wanted one is refused as ever.
        flags = (flags | socket.AI_NUMERICHOST) & ~socket.AI_ADDRCONFIG
    else:
        asked = None
    found = []
    for entry in raw_getaddrinfo(host, port, family, type, proto, flags):
        af, kind, protocol, canonical, address = entry
        if canonical and asked is not None:
            canonical = asked if isinstance(asked, str) else bytes(asked).decode("ascii", "replace")
        found.append((
            socket._intenum_converter(af, socket.AddressFamily),  # type: ignore[attr-defined]
            socket._intenum_converter(kind, socket.SocketKind),  # type: ignore[attr-defined]
            protocol,
            canonical,
            address,
        ))
    return found


def gethostbyname(name: Any) -> str:
    """`socket.gethostbyname` in the same manner."""
    return numeric(name, socket.AF_INET)


def gethostbyname_ex(name: Any) -> tuple[str, list[str], list[str]]:
    """`socket.gethostbyname_ex` in the same manner."""
    return str(name), [], [gethostbyname(name)]
