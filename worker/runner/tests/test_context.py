"""What a handler is told about its call."""

import unittest
from datetime import UTC, datetime
from typing import Any

from sortie_runner.context import Context

FIELDS: dict[str, Any] = {
    "job": "j",
    "action": "a",
    "attempt": 2,
    "deadline": "2026-01-31T12:00:00.000Z",
    "remaining_ms": 60_000,
}


class Contexts(unittest.TestCase):
    def test_secrets_are_read_by_name_and_not_changed(self) -> None:
        context = Context({**FIELDS, "secrets": {"API_KEY": "s3cr3t"}}, lambda fraction, message: None)
        self.assertEqual(context.secrets["API_KEY"], "s3cr3t")
        with self.assertRaises(KeyError):
            context.secrets["OTHER"]
        with self.assertRaises(TypeError):
            context.secrets["API_KEY"] = "x"  # type: ignore[index]
        self.assertNotIn("s3cr3t", repr(context))

    def test_a_call_without_secrets_has_none(self) -> None:
        context = Context(FIELDS, lambda fraction, message: None)
        self.assertEqual(dict(context.secrets), {})
        self.assertEqual(context.deadline, datetime(2026, 1, 31, 12, tzinfo=UTC))
        self.assertGreater(context.remaining(), 0)
