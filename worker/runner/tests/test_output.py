"""Output: strict JSON, with the place of what doesn't fit."""

import unittest
from typing import Any

from sortie_runner.failure import Failure
from sortie_runner.output import DEPTH, encode


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class Output(unittest.TestCase):
    def refused(self, value: Any, part: str, code: str = "output_not_json") -> None:
        with self.assertRaises(Failure) as caught:
            encode(value, "the result", 10_000)
        self.assertEqual(caught.exception.code, code)
        self.assertIn(part, caught.exception.message)

    def test_json_values_are_taken(self) -> None:
        value = {"a": [1, 2.5, True, None, "é☕"], "t": (1, 2), "big": 2**70}
        text = '{"a":[1,2.5,true,null,"é☕"],"t":[1,2],"big":1180591620717411303424}'
        self.assertEqual(encode(value, "the result", 10_000).decode(), text)
        encode(nested(DEPTH), "the result", 10_000)

    def test_other_values_are_refused_with_their_place(self) -> None:
        self.refused({1, 2}, "the result has a value of type set")
        self.refused({"a": [0, b""]}, "at /a/1 a value of type bytes")
        self.refused([float("inf")], "at /0 inf")
        self.refused({"a": {None: 1}}, "at /a a key of type NoneType")
        self.refused(["\ud800"], "at /0 a string that is not Unicode")
        self.refused({"\ud800": 1}, "not Unicode")
        self.refused(10**400, "too large")
        self.refused(nested(DEPTH + 1), f"{DEPTH} levels")

    def test_a_text_past_the_limit_is_too_large(self) -> None:
        self.refused("x" * 10_000, "10,002 bytes", code="output_too_large")
