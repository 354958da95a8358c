"""Calling: functions, coroutines and generators of both kinds."""

import unittest
from typing import Any

from sortie_runner.invoke import invoke
from sortie_runner.loader import Handler, compiled, load


def load_it(source: str) -> Handler:
    return load(source, compiled(source))


class Sent(list[bytes]):
    """Keeps what a call tells."""

    def chunk(self, text: bytes) -> None:
        self.append(text)

    def progress(self, fraction: float, message: str | None) -> None:
        self.append(f"{fraction} {message}".encode())


class Invoke(unittest.TestCase):
    def call(self, source: str, data: Any = None, result_bytes: int = 1000) -> tuple[bytes, list[bytes]]:
        sent = Sent()
        fields = {"job": "j", "action": "a", "attempt": 1, "deadline": "2026-01-01T00:00:00.000Z", "remaining_ms": 60_000}
        limits = {"chunk_bytes": 1000, "result_bytes": result_bytes}
        return invoke(load_it(source), {"input": data, "context": fields}, limits, sent), sent

    def test_functions_and_coroutines_return_their_result(self) -> None:
        self.assertEqual(self.call("def handle_event(data): return data", {"a": 1}), (b'{"a":1}', []))
        self.assertEqual(self.call("async def handle_event(data): return data", [1]), (b"[1]", []))

    def test_generators_send_chunks_and_may_return_a_result(self) -> None:
        source = "def handle_event(data):\n yield 1\n yield 'b'\n"
        self.assertEqual(self.call(source), (b'[1,"b"]', [b"1", b'"b"']))
        self.assertEqual(self.call(source + " return {}"), (b"{}", [b"1", b'"b"']))
        self.assertEqual(self.call("async " + source), (b'[1,"b"]', [b"1", b'"b"']))
        self.assertEqual(self.call("def handle_event(data):\n yield from ()"), (b"[]", []))

    def test_functions_may_return_generators_and_coroutines(self) -> None:
        self.assertEqual(self.call("def handle_event(data): return (n for n in range(2))"), (b"[0,1]", [b"0", b"1"]))
        source = "async def g():\n yield 1\nasync def handle_event(data): return g()"
        self.assertEqual(self.call(source), (b"[1]", [b"1"]))

    def test_a_list_of_chunks_that_is_too_large_is_null(self) -> None:
        result, sent = self.call("def handle_event(data):\n for n in range(100): yield n", result_bytes=20)
        self.assertEqual((result, len(sent)), (b"null", 100))

    def test_the_context_tells_and_is_told(self) -> None:
        source = """
def handle_event(data, context):
    assert 0 < context.remaining() <= 60
    assert context.deadline.tzinfo is not None
    context.progress(0.5, "half")
    for wrong in (2, -1, float("nan"), "x"):
        try:
            context.progress(wrong)
        except ValueError:
            continue
        raise AssertionError(wrong)
    return [context.job, context.attempt]
"""
        self.assertEqual(self.call(source), (b'["j",1]', [b"0.5 half"]))
