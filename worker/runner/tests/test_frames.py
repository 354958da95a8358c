"""Frames: what is sent is what the worker reads."""

import json
import os
import unittest
from pathlib import Path

from sortie_runner import frames

GOLDEN = json.loads((Path(__file__).parent.parent / "fixtures" / "frames.json").read_text("utf-8"))


def body(frame: bytes) -> bytes:
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return frame[4:]


class Frames(unittest.TestCase):
    def test_every_golden_frame_is_what_we_send(self) -> None:
        value = '{"a":"é","b":[1.50,null]}'.encode()
        details = {"type": "ValueError", "traceback": "…"}
        made = {
            "code": frames.encode_code("cb0d0d0ae3"),
            "code_none": frames.encode_code(None),
            "chunk": frames.encode_chunk(value),
            "log": frames.encode("log", {"stream": "stderr", "text": "tired ☕\n"}),
            "progress": frames.encode("progress", {"fraction": 0.25, "message": "a quarter"}),
            "progress_bare": frames.encode("progress", {"fraction": 1.0, "message": None}),
            "result": frames.encode_result(7, b"null", True),
            "failure": frames.encode(
                "failure", {"call": 1, "code": "handler_raised", "message": "ValueError: no", "details": details}
            ),
        }
        self.assertEqual({g["name"]: g["text"] for g in GOLDEN}, {n: body(f).decode() for n, f in made.items()})

    def test_text_that_is_no_unicode_is_sent_all_the_same(self) -> None:
        self.assertIn(b'"text":"?"', frames.encode("log", {"stream": "log", "text": "\ud800"}))

    def test_calls_are_read_whole_and_the_end_is_none(self) -> None:
        (calls, ours), nothing = os.pipe(), os.open(os.devnull, os.O_WRONLY)
        call = frames.encode("call", {"input": "x" * 50_000})
        channel = frames.Channel()
        channel.open(calls, nothing)
        os.write(ours, call[:10])
        os.write(ours, call[10:])
        received = channel.receive()
        assert received is not None
        self.assertEqual(len(received["input"]), 50_000)
        os.write(ours, call[:10])
        os.close(ours)
        self.assertIsNone(channel.receive())
        channel.disown()

    def test_a_disowned_channel_sends_nothing(self) -> None:
        (ours, answers), nothing = os.pipe(), os.open(os.devnull, os.O_RDONLY)
        channel = frames.Channel()
        channel.open(nothing, answers)
        self.assertTrue(channel.send(b"one"))
        channel.disown()
        self.assertFalse(channel.send(b"two"))
        self.assertEqual(os.read(ours, 10), b"one")
        self.assertEqual(os.read(ours, 10), b"")
        os.close(ours)
