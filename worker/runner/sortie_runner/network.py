"""The network of a handler: connections go through the worker's egress gate, the only way out of the sandbox.

The gate is an HTTP proxy on the loopback. What uses proxies by itself (`requests`, `urllib`, programs that are started)
is told of it by the environment; every other stream socket is taken there when it connects, by CONNECT. Nothing of
this protects anything: what goes round it finds no network at all.
"""

import errno
import ipaddress
import json
import os
import select
import socket
import sys
from typing import Any

import _socket

from .names import LOOPBACK, getaddrinfo, gethostbyname, gethostbyname_ex, names, numeric

# The gate's answer when a connection stands, to the letter; what follows is the target's.
CONNECTED = b"HTTP/1.1 200 Connected\r\n\r\n"
ANSWER_BYTES = 8 * 1024
# How long a socket that doesn't block waits for the gate. asyncio waits by itself.
PATIENCE = 30.0

# The originals, which never leave the sandbox.
Raw = _socket.socket
sock_connect: Any = None

Address = tuple[Any, ...]


def install(port: int) -> None:
    """Takes all connections of this process and its children to the gate at `port` of the loopback."""
    global _gate
    _gate = port
    proxy = f"http://{LOOPBACK}:{port}"
    for name in ("http_proxy", "https_proxy"):
        os.environ[name] = os.environ[name.upper()] = proxy
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1,::1"
    socket.getaddrinfo = getaddrinfo
    socket.gethostbyname = gethostbyname
    socket.gethostbyname_ex = gethostbyname_ex
    for method in (connect, connect_ex, sendto, sendmsg):
        setattr(socket.socket, method.__name__, method)
    install_in_asyncio()


def install_in_asyncio() -> None:
    """The same for its loops. Where it is loaded later, they connect like every other socket that doesn't block, which here
    holds them up while the gate connects."""
    global sock_connect
    if events := sys.modules.get("asyncio.selector_events"):
        sock_connect = events.BaseSelectorEventLoop.sock_connect
        events.BaseSelectorEventLoop.sock_connect = sock_connect_by_gate


_gate = 0


class Route:
    """Where a socket that connects is to be taken."""

    __slots__ = ("host", "port", "loopback", "address")

    def __init__(self, sock: Raw, address: Address) -> None:
        host = numeric(address[0], sock.family)
        parsed = ipaddress.ip_address(host.partition("%")[0])
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        name = names.name(str(parsed))
        self.host = name or (f"[{parsed}]" if parsed.version == 6 else str(parsed))
        self.port = address[1]
        # The same address for the system, which must not resolve names.
        self.address = (host, *address[1:])
        self.loopback = name is None and (parsed.is_loopback or parsed.is_unspecified)

    def request(self) -> bytes:
        """What the gate is asked."""
        target = f"{self.host}:{self.port}"
        return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("ascii")


def route(sock: Raw, address: Any) -> Route | None:
    """The route of a socket; `None` where the system decides alone. Raises if there is none for such a socket."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple) or len(address) < 2:
        return None
    if not isinstance(address[0], str | bytes | bytearray) or not isinstance(address[1], int):
        return None
    found = Route(sock, address)
    if sock.type == socket.SOCK_STREAM:
        return found
    if found.loopback:
        return None
    reason = f"only TCP leaves the sandbox, through the egress gate; {found.host}:{found.port} can't be reached by UDP"
    raise OSError(errno.ENETUNREACH, reason)


def connect(sock: Raw, address: Any) -> None:
    """`socket.connect` by way of the gate."""
    found = route(sock, address)
    if found is None:
        return Raw.connect(sock, address)
    if found.loopback and reaches_own(sock, found.address):
        return None
    return tunnel(sock, found)


def connect_ex(sock: Raw, address: Any) -> int:
    """`socket.connect_ex` by way of the gate."""
    try:
        connect(sock, address)
    except socket.gaierror:
        raise
    except TimeoutError as error:
        return error.errno or errno.EAGAIN
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def sendto(sock: Raw, data: Any, *args: Any) -> int:
    """`socket.sendto`, which says why it can't reach what lies outside."""
    if args and (found := route_of_datagram(sock, args[-1])):
        args = (*args[:-1], found)
    return Raw.sendto(sock, data, *args)


def sendmsg(sock: Raw, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
    """`socket.sendmsg` in the same manner."""
    if address is None:
        return Raw.sendmsg(sock, buffers, ancdata, flags)
    return Raw.sendmsg(sock, buffers, ancdata, flags, route_of_datagram(sock, address) or address)


def route_of_datagram(sock: Raw, address: Any) -> Address | None:
    """Raises where datagrams can't go; otherwise the address without names, if there is one."""
    if sock.type == socket.SOCK_STREAM or route(sock, address) is not None:
        return None
    inet = sock.family in (socket.AF_INET, socket.AF_INET6)
    return Route(sock, address).address if inet and isinstance(address, tuple) else None


async def sock_connect_by_gate(loop: Any, sock: Raw, address: Any) -> None:
    """`loop.sock_connect` by way of the gate, without blocking the loop."""
    found = route(sock, address)
    if found is None or sock.gettimeout() != 0:
        return await sock_connect(loop, sock, address)
    if found.loopback and reaches_own(sock, found.address):
        return None
    enter(sock)
    answer = b""
    try:
        await loop.sock_sendall(sock, found.request())
        while (wanted := missing(answer)) and (piece := await loop.sock_recv(sock, wanted)):
            answer += piece
    except BaseException:
        renew(sock)
        raise
    judge(sock, found, answer)


def tunnel(sock: Raw, found: Route) -> None:
    """Connects a socket to the gate and has it take it further."""
    timeout = sock.gettimeout()
    enter(sock)
    answer = b""
    try:
        if timeout == 0:
            Raw.settimeout(sock, PATIENCE)
        # Past `SSLSocket`, which would encrypt this already.
        Raw.sendall(sock, found.request())
        while (wanted := missing(answer)) and (piece := Raw.recv(sock, wanted)):
            answer += piece
    except BaseException:
        renew(sock)
        raise
    finally:
        Raw.settimeout(sock, timeout)
    judge(sock, found, answer)


def enter(sock: Raw) -> None:
    """Connects a socket to the gate itself."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address: Address = (f"::ffff:{LOOPBACK}", _gate, 0, 0)
    else:
        address = (LOOPBACK, _gate)
    if not reaches_own(sock, address):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "the egress gate of this sandbox is closed")


def reaches_own(sock: Raw, address: Address) -> bool:
    """Connects within the sandbox; `False` if nothing listens there. That takes no time worth waiting for, even if
    the system doesn't say at once how it ended."""
    try:
        Raw.connect(sock, address)
    except ConnectionRefusedError:
        settle(sock, address)
        return False
    except BlockingIOError:
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLOUT)
        if not poll.poll(1000):
            raise
        if (error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) == errno.ECONNREFUSED:
            settle(sock, address)
            return False
        if error:
            raise OSError(error, os.strerror(error)) from None
    return True


def settle(sock: Raw, address: Address) -> None:
    """Makes a socket that was refused fit to connect elsewhere. One that does not block stays half connected until
    it is asked once more, which then fails (ECONNABORTED) and clears it."""
    try:
        Raw.connect(sock, address)
    except OSError:
        pass


def missing(answer: bytes) -> int:
    """How much more of an answer there is to read: nothing beyond it, for that is the target's."""
    if CONNECTED.startswith(answer):
        return len(CONNECTED) - len(answer)
    return max(0, ANSWER_BYTES - len(answer))


def judge(sock: Raw, found: Route, answer: bytes) -> None:
    """Raises what the gate's answer means, unless the connection stands."""
    if answer == CONNECTED:
        return
    renew(sock)
    raise refusal(found, answer)


def refusal(found: Route, answer: bytes) -> OSError:
    """The error for an answer, in the gate's words."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, _, reason = head.partition(b"\r\n")[0].decode("ascii", "replace").partition(" ")[2].partition(" ")
    try:
        reason = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        pass
    match status:
        case "403":
            if found.loopback:
                reason += "; and in the sandbox itself nothing listens there"
            return PermissionError(errno.EACCES, f"egress denied: {reason}")
        case "502":
            return ConnectionRefusedError(errno.ECONNREFUSED, reason)
        case "504":
            return TimeoutError(errno.ETIMEDOUT, reason)
        case "400":
            return OSError(errno.EINVAL, reason)
    return ConnectionAbortedError(errno.ECONNABORTED, f"the egress gate closed the connection to {found.host}")


def renew(sock: Raw) -> None:
    """Makes a socket that failed to connect as good as new, so that it can be tried again."""
    if sock.fileno() < 0:
        return
    timeout = sock.gettimeout()
    fresh = Raw(sock.family, sock.type, sock.proto)
    try:
        os.dup2(fresh.fileno(), sock.fileno(), inheritable=os.get_inheritable(sock.fileno()))
    finally:
        fresh.close()
    Raw.settimeout(sock, timeout)
