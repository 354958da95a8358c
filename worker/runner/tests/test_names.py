"""Names without a resolver: one form for each, an address that stays, and nothing that isn't a name."""

import ipaddress
import socket
import unittest
from unittest import mock

from sortie_runner import names


class Names(unittest.TestCase):
    def test_names_have_one_form_and_nothing_else_is_one(self) -> None:
        for text, form in [("A.Example.", "a.example"), (b"a_b", "a_b"), ("bücher.example", "xn--bcher-kva.example")]:
            self.assertEqual(names.normal(text), form)
        for wrong in ("", "a b", "a\r\nb", "a/b", "a:1", "-", "a" * 254, b"\xff", "a%b", "\0"):
            with self.assertRaises(socket.gaierror, msg=repr(wrong)):
                names.normal(wrong)

    def test_names_get_an_address_that_stays(self) -> None:
        first, second = socket.gethostname() + "-1.test", socket.gethostname() + "-2.test"
        address = names.gethostbyname(first)
        self.assertTrue(address.startswith("198.18."), address)
        self.assertNotEqual(address, names.gethostbyname(second))
        self.assertEqual(address, names.gethostbyname(first.upper()))
        self.assertEqual(names.names.name(address), first.lower())
        entries = names.getaddrinfo(first, "443", type=socket.SOCK_STREAM)
        self.assertEqual([entry[4] for entry in entries], [(address, 443)])
        entries = names.getaddrinfo(first, 443, socket.AF_INET6, socket.SOCK_STREAM)
        self.assertEqual(entries[0][4][:2], (f"::ffff:{address}", 443))

    def test_there_are_only_so_many_names(self) -> None:
        with mock.patch.object(names, "STAND_INS", ipaddress.ip_network("198.18.0.0/30")):
            few = names.Names()
            addresses = {few.address(name) for name in ("a", "b", "c", "a")}
            self.assertEqual(len(addresses), 3)
            with self.assertRaises(socket.gaierror):
                few.address("d")

    def test_this_machine_and_addresses_need_no_name(self) -> None:
        for host in ("localhost", "LOCALHOST.", "", socket.gethostname(), "0x7f.1", "2130706433"):
            self.assertEqual(names.gethostbyname(host), "127.0.0.1")
        self.assertEqual(names.getaddrinfo("localhost", 1, socket.AF_INET6)[0][4][0], "::1")
        self.assertEqual(names.getaddrinfo(None, 80, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)[0][4][1], 80)
        with self.assertRaises(socket.gaierror):
            names.getaddrinfo("a.test", 1, flags=socket.AI_NUMERICHOST)
