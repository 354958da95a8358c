"""The way to the egress gate: what the gate is asked, what its answers mean. Real clients
through a real gate are tested by worker/tests/egress_python.rs."""

import asyncio
import errno
import os
import socket
import threading
import unittest
from typing import Any
from unittest import mock

from sortie_runner import network
from sortie_runner.names import gethostbyname
from sortie_runner.network import CONNECTED


class Gate:
    """Takes connections, keeps what it is asked, and says what it is told to."""

    def __init__(self, *answers: bytes) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        self.asked: list[str] = []
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._answers:
            peer, _ = self.server.accept()
            with peer:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += peer.recv(4096)
                self.asked.append(request.partition(b" HTTP")[0].decode())
                peer.sendall(answer)

    def close(self) -> None:
        """Waits until everything was said."""
        self._thread.join(30)
        self.server.close()


class Network(unittest.TestCase):
    def gate(self, *answers: bytes) -> Gate:
        gate = Gate(*answers)
        self.addCleanup(gate.close)
        patch = mock.patch.object(network, "_gate", gate.port)
        patch.start()
        self.addCleanup(patch.stop)
        return gate

    def fresh(self, family: int = socket.AF_INET) -> socket.socket:
        sock = socket.socket(family)
        self.addCleanup(sock.close)
        return sock

    def closed_port(self) -> int:
        """A port of the loopback where nobody listens."""
        # Bound for as long as the test, so that nobody else is given it.
        bound = self.fresh()
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port

    def failure(self, sock: socket.socket, address: tuple[Any, ...]) -> OSError:
        with self.assertRaises(OSError) as raised:
            network.connect(sock, address)
        return raised.exception

    def test_the_gate_is_asked_for_names_and_for_addresses_as_they_are_read(self) -> None:
        gate = self.gate(*[CONNECTED] * 5)
        stand_in = gethostbyname("one.test")
        network.connect(self.fresh(), ("One.test", 1))
        network.connect(self.fresh(), (stand_in, 2))
        network.connect(self.fresh(socket.AF_INET6), (f"::ffff:{stand_in}", 3, 0, 0))
        network.connect(self.fresh(), ("0xa9fea9fe", 4))
        network.connect(self.fresh(socket.AF_INET6), ("2606:4700::1111", 5))
        gate.close()
        self.assertEqual(
            gate.asked,
            [
                "CONNECT one.test:1",
                "CONNECT one.test:2",
                "CONNECT one.test:3",
                "CONNECT 169.254.169.254:4",
                "CONNECT [2606:4700::1111]:5",
            ],
        )

    def test_what_a_server_says_first_is_not_taken_for_the_answer(self) -> None:
        self.gate(CONNECTED + b"220 mail.test", CONNECTED + b"220 mail.test")
        sock = self.fresh()
        sock.settimeout(30)
        network.connect(sock, ("mail.test", 25))
        self.assertEqual(sock.recv(100), b"220 mail.test")
        self.assertEqual(sock.gettimeout(), 30)

        async def main() -> bytes:
            other = self.fresh()
            other.setblocking(False)
            loop = asyncio.get_running_loop()
            await network.sock_connect_by_gate(loop, other, ("mail.test", 25))
            return await loop.sock_recv(other, 100)

        self.assertEqual(asyncio.run(main()), b"220 mail.test")

    def test_answers_mean_errors_in_the_words_of_the_gate(self) -> None:
        for answer, kind, text in [
            (b"HTTP/1.1 403 Egress denied: short\r\n\r\n" + b'{"detail": "the rule"}', PermissionError, "the rule"),
            (b"HTTP/1.1 403 Egress denied: short\r\n\r\nnot json", PermissionError, "short"),
            (b"HTTP/1.1 502 Egress failed: gone\r\n\r\n", ConnectionRefusedError, "gone"),
            (b"HTTP/1.1 504 Egress timed out: slow\r\n\r\n", TimeoutError, "slow"),
            (b"HTTP/1.1 400 Egress request invalid: odd\r\n\r\n[]", OSError, "odd"),
            (b"HTTP/1.1 200 Connect", ConnectionAbortedError, "a.test"),
            (b"", ConnectionAbortedError, "a.test"),
            (b"\xff\xff", ConnectionAbortedError, "a.test"),
        ]:
            gate = self.gate(answer)
            error = self.failure(self.fresh(), ("a.test", 1))
            self.assertIsInstance(error, kind)
            self.assertIn(text, str(error))
            gate.close()

    def test_a_socket_that_was_refused_can_be_tried_again(self) -> None:
        self.gate(b"HTTP/1.1 403 x: no\r\n\r\n", CONNECTED)
        sock = self.fresh()
        sock.settimeout(30)
        self.assertEqual(network.connect_ex(sock, ("a.test", 1)), errno.EACCES)
        self.assertFalse(os.get_inheritable(sock.fileno()))
        self.assertEqual(network.connect_ex(sock, ("a.test", 1)), 0)
        self.assertEqual(sock.gettimeout(), 30)

    def test_a_socket_that_does_not_block_can_go_elsewhere_after_the_sandbox_refused_it(self) -> None:
        closed = ("127.0.0.1", self.closed_port())
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)

        def then_elsewhere() -> int:
            sock = self.fresh()
            sock.setblocking(False)
            self.assertFalse(network.reaches_own(sock, closed))
            return network.Raw.connect_ex(sock, server.getsockname())

        self.assertIn(then_elsewhere(), (0, errno.EINPROGRESS))
        # What the system says otherwise: the next connect still answers for the one before.
        with mock.patch.object(network, "settle"):
            self.assertEqual(then_elsewhere(), errno.ECONNABORTED)

    def test_connections_to_a_closed_port_of_the_sandbox_are_taken_to_the_gate(self) -> None:
        gate = self.gate(*[CONNECTED] * 2)
        port = self.closed_port()

        async def main() -> None:
            sock = self.fresh()
            sock.setblocking(False)
            await network.sock_connect_by_gate(asyncio.get_running_loop(), sock, ("127.0.0.1", port))

        network.connect(self.fresh(), ("127.0.0.1", port))
        asyncio.run(main())
        gate.close()
        self.assertEqual(gate.asked, [f"CONNECT 127.0.0.1:{port}"] * 2)

    def test_a_gate_that_is_not_there_is_named(self) -> None:
        with mock.patch.object(network, "_gate", self.closed_port()):
            self.assertIn("egress gate", str(self.failure(self.fresh(), ("a.test", 1))))

    def test_datagrams_stay_within(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            self.assertIn("only TCP", str(self.failure(sock, ("a.test", 53))))
            with self.assertRaises(OSError):
                network.sendto(sock, b"x", ("8.8.8.8", 53))
            with self.assertRaises(OSError):
                network.sendmsg(sock, [b"x"], [], 0, ("8.8.8.8", 53))
            self.assertEqual(network.sendto(sock, b"x", ("localhost", 9)), 1)
