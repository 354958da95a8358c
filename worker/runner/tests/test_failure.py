"""Failures: what an exception tells about the handler, and nothing about us."""

import unittest

from sortie_runner.failure import Failure, of_exception
from sortie_runner.loader import Handler, compiled, load


def load_it(source: str) -> Handler:
    return load(source, compiled(source))


def failure_of(source: str) -> Failure:
    try:
        load_it(source).function(None)
    except BaseException as error:
        return of_exception(error, 256)
    raise AssertionError("nothing was raised")


class Failures(unittest.TestCase):
    def test_tracebacks_have_the_handlers_frames_and_causes_only(self) -> None:
        failure = failure_of(
            "import json\ndef handle_event(data):\n try:\n  json.loads('{')\n except ValueError as e:\n  raise KeyError('k') from e"
        )
        self.assertEqual((failure.code, failure.message), ("handler_raised", "KeyError: 'k'"))
        traceback = failure.details["traceback"]
        self.assertIn("json.loads('{')", traceback)
        self.assertIn("direct cause", traceback)
        self.assertNotIn("decoder.py", traceback)
        self.assertNotIn("sortie_runner", traceback)

    def test_exits_interrupts_and_memory_have_messages_of_their_own(self) -> None:
        exited = failure_of("import sys\ndef handle_event(data): sys.exit('done')")
        self.assertEqual((exited.code, exited.message), ("handler_exited", "the handler called sys.exit('done')"))
        self.assertEqual(failure_of("def handle_event(data): raise KeyboardInterrupt").message, "KeyboardInterrupt")
        self.assertIn("256 MiB", failure_of("def handle_event(data): raise MemoryError").message)

    def test_hostile_exceptions_are_told_as_such(self) -> None:
        source = "class E(Exception):\n def __str__(self): raise SystemExit\ndef handle_event(data): raise E"
        self.assertIn("can't be shown", failure_of(source).message)

    def test_long_messages_are_cut(self) -> None:
        failure = failure_of("def handle_event(data): raise ValueError('x' * 10**6)")
        self.assertLess(len(failure.fields()["message"]), 5000)
        self.assertLess(len(failure.details["traceback"]), 20_000)
