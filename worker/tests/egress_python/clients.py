"""Runs network clients after `network.install`, and prints what each got, or the error that it raised."""

import asyncio
import http.client
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
from typing import Any

TASK = json.loads(sys.argv[1])
sys.path.insert(0, TASK["runner"])

import requests  # noqa: E402
from sortie_runner import network  # noqa: E402

HOST, HTTP, HTTPS, CA = TASK["host"], TASK["http"], TASK["https"], TASK["ca"]
TLS = ssl.create_default_context(cafile=CA)


def ask(name: str) -> bytes:
    """A request, to the letter."""
    return f"GET /{name} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def body(answer: bytes) -> str:
    """What follows the head."""
    return answer.partition(b"\r\n\r\n")[2].decode()


def talk(sock: Any, name: str) -> str:
    """Asks over a connected socket, and reads to its end."""
    with sock:
        sock.sendall(ask(name))
        answer = b""
        while piece := sock.recv(4096):
            answer += piece
    return body(answer)


def requests_http(name: str) -> str:
    answer = requests.get(f"http://{HOST}:{HTTP}/{name}", timeout=20)
    answer.raise_for_status()
    return answer.text


def requests_https(name: str) -> str:
    return requests.get(f"https://{HOST}:{HTTPS}/{name}", timeout=20, verify=CA).text


def requests_session(name: str) -> str:
    with requests.Session() as session:
        for _ in range(3):
            answer = session.get(f"http://{HOST}:{HTTP}/{name}", timeout=20)
            answer.raise_for_status()
        return session.get(f"https://{HOST}:{HTTPS}/{name}", timeout=20, verify=CA).text


def requests_https_without_proxy(name: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"https://{HOST}:{HTTPS}/{name}", timeout=20, verify=CA).text


def urllib_http(name: str) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{HTTP}/{name}", timeout=20) as answer:
        return answer.read().decode()


def urllib_https(name: str) -> str:
    with urllib.request.urlopen(f"https://{HOST}:{HTTPS}/{name}", timeout=20, context=TLS) as answer:
        return answer.read().decode()


def http_client_http(name: str) -> str:
    connection = http.client.HTTPConnection(HOST, HTTP, timeout=20)
    connection.request("GET", f"/{name}")
    return connection.getresponse().read().decode()


def http_client_https(name: str) -> str:
    connection = http.client.HTTPSConnection(HOST, HTTPS, timeout=20, context=TLS)
    connection.request("GET", f"/{name}")
    return connection.getresponse().read().decode()


def raw_socket(name: str) -> str:
    sock = socket.socket()
    sock.connect((socket.gethostbyname(HOST), HTTP))
    return talk(sock, name)


def raw_socket_tls(name: str) -> str:
    return talk(TLS.wrap_socket(socket.create_connection((HOST, HTTPS)), server_hostname=HOST), name)


def raw_socket_tls_connected_later(name: str) -> str:
    sock = TLS.wrap_socket(socket.socket(), server_hostname=HOST)
    sock.connect((HOST, HTTPS))
    return talk(sock, name)


def socket_with_timeout(name: str) -> str:
    sock = socket.create_connection((HOST, HTTP), timeout=20)
    assert sock.gettimeout() == 20
    return talk(sock, name)


def socket_ipv6(name: str) -> str:
    family, kind, protocol, _, address = socket.getaddrinfo(HOST, HTTP, socket.AF_INET6, socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    sock.connect(address)
    return talk(sock, name)


def socket_by_literal_name(name: str) -> str:
    sock = socket.socket()
    sock.connect((HOST.upper() + ".", HTTP))
    return talk(sock, name)


def socket_without_blocking(name: str) -> str:
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.connect((HOST, HTTP))
    except BlockingIOError:
        select.select([], [sock], [], 20)
    assert sock.gettimeout() == 0
    sock.sendall(ask(name))
    answer = b""
    while not answer.endswith(name.encode()):
        select.select([sock], [], [], 20)
        answer += sock.recv(4096)
    sock.close()
    return body(answer)


def socket_duplicated_and_made_file(name: str) -> str:
    sock = socket.create_connection((HOST, HTTP))
    other = sock.dup()
    sock.close()
    with other, other.makefile("rwb") as file:
        file.write(ask(name))
        file.flush()
        return body(file.read())


async def ask_stream(name: str, **how: Any) -> str:
    reader, writer = await asyncio.open_connection(HOST, **how)
    writer.write(ask(name))
    answer = await reader.read()
    writer.close()
    return body(answer)


def asyncio_streams(name: str) -> str:
    return asyncio.run(ask_stream(name, port=HTTP))


def asyncio_streams_tls(name: str) -> str:
    return asyncio.run(ask_stream(name, port=HTTPS, ssl=TLS))


def asyncio_sock_connect(name: str) -> str:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (HOST, HTTP))
            await loop.sock_sendall(sock, ask(name))
            answer = b""
            while piece := await loop.sock_recv(sock, 4096):
                answer += piece
            return body(answer)

    return asyncio.run(main())


def asyncio_many_at_once(name: str) -> str:
    async def main() -> str:
        answers = await asyncio.gather(*(ask_stream(name, port=HTTPS, ssl=TLS) for _ in range(30)))
        assert len(set(answers)) == 1
        return answers[0]

    return asyncio.run(main())


def forked_process(name: str) -> str:
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, outcome(raw_socket, name).encode())
        os._exit(0)
    os.close(write)
    os.wait()
    return os.read(read, 10_000).decode()


def started_process(name: str) -> str:
    """A program knows of the gate by the environment."""
    code = f"import urllib.request as u; print(u.urlopen('http://{HOST}:{HTTP}/{name}').read().decode(), end='')"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    return done.stdout or done.stderr


def datagrams(_: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        told = []
        for send in (
            lambda: sock.sendto(b"x", ("8.8.8.8", 53)),
            lambda: sock.sendto(b"x", 0, (HOST, 53)),
            lambda: sock.sendmsg([b"x"], [], 0, (HOST, 53)),
            lambda: sock.connect((HOST, 53)),
        ):
            try:
                send()
            except OSError as error:
                told.append(str(error))
        assert len(told) == 4 and all("8.8.8.8:53" in text or f"{HOST}:53" in text for text in told), told
        return told[0]


def datagram_endpoint(_: str) -> str:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(HOST, 53))

    asyncio.run(main())
    return "sent"


def datagrams_within(_: str) -> str:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        theirs.bind(("127.0.0.1", 0))
        ours.sendto(b"po", ("localhost", theirs.getsockname()[1]))
        ours.connect(theirs.getsockname())
        ours.send(b"ng")
        return (theirs.recv(10) + theirs.recv(10)).decode()


def own_server(_: str) -> str:
    with socket.create_server(("localhost", 0)) as server:
        with socket.create_connection(("localhost", server.getsockname()[1])) as client:
            peer, address = server.accept()
            assert address == client.getsockname()
            with peer:
                peer.sendall(b"pong")
            return client.recv(10).decode()


def own_server_asyncio(_: str) -> str:
    async def serve(reader: Any, writer: Any) -> None:
        writer.write(b"pong")
        writer.close()

    async def main() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        answer = await reader.read()
        writer.close()
        server.close()
        return answer.decode()

    return asyncio.run(main())


def loopback_denied(_: str) -> str:
    socket.create_connection(("127.0.0.2", free_port()))
    return "connected"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def metadata(_: str) -> str:
    socket.create_connection(("0xa9fea9fe", 80))
    return "connected"


def retry_on_the_same_socket(name: str) -> str:
    sock = socket.socket()
    sock.settimeout(20)
    codes = [sock.connect_ex(("closed.test", HTTP)), sock.connect_ex(("10.0.0.1", 80))]
    sock.connect((HOST, HTTP))
    return " ".join(map(str, [*codes, talk(sock, name)]))


def tried_by_number(_: str) -> str:
    with socket.socket() as sock:
        sock.setblocking(False)
        return str(sock.connect_ex(("closed.test", 80)))


def no_name(_: str) -> str:
    for wrong in ("a b", "a\r\nX: 1", "a/b", "x" * 300, "a..", "", b"\xff"):
        try:
            found = socket.gethostbyname(wrong)
            assert wrong == "" and found == "127.0.0.1", (wrong, found)
        except socket.gaierror as error:
            told = f"gaierror: {error}"
    return told


def literals(_: str) -> str:
    assert socket.getaddrinfo("0x7f.1", 80, type=socket.SOCK_STREAM)[0][4] == ("127.0.0.1", 80)
    assert socket.getaddrinfo("::1", 80, type=socket.SOCK_STREAM)[0][4] == ("::1", 80, 0, 0)
    assert socket.getaddrinfo(None, 80, flags=socket.AI_PASSIVE, family=socket.AF_INET)[0][4] == ("0.0.0.0", 80)
    assert socket.gethostbyname(HOST) == socket.gethostbyname(HOST.upper()) != socket.gethostbyname("other.test")
    assert socket.gethostbyname_ex(HOST)[2] == [socket.gethostbyname(HOST)]
    family, kind, _, _, address = socket.getaddrinfo("93.184.216.34", "80", type=socket.SOCK_STREAM)[0]
    assert kind is socket.SOCK_STREAM
    return f"{family.name} {address[0]} {address[1]}"


def unix_socket(_: str) -> str:
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "socket")
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(path)
            server.listen()
            client.connect(path)
            peer = server.accept()[0]
            peer.sendall(b"pong")
            peer.close()
            return client.recv(10).decode()


def cancelled(_: str) -> str:
    """A connection that is given up while the gate is silent, on a loop that goes on."""

    async def main() -> str:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            gate, network._gate = network._gate, silent.getsockname()[1]
            try:
                await asyncio.wait_for(asyncio.open_connection(HOST, HTTP), 0.2)
            except TimeoutError:
                pass
            finally:
                network._gate = gate
        assert (await ask_stream("again", port=HTTP)) == "reached /again"
        return "cancelled"

    return asyncio.run(main())


def outcome(client: Any, name: str) -> str:
    try:
        return client(name)
    except Exception as error:
        return "".join(traceback.format_exception_only(error)).strip()


def main() -> None:
    network.install(TASK["gate"])
    watchdog = threading.Timer(100, lambda: os._exit(99))
    watchdog.daemon = True
    watchdog.start()
    began = time.monotonic()
    outcomes = {name: outcome(globals()[name], name) for name in TASK["clients"]}
    print(f"{time.monotonic() - began:.3f} s", file=sys.stderr)
    print(json.dumps(outcomes))


main()
