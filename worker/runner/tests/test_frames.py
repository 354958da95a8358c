"""Frames: what is sent is what the worker reads."""

import json
import socket
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
            "chunk": frames.encode_value("chunk", value),
            "log": frames.encode("log", {"stream": "stderr", "text": "tired ☕\n"}),
            "progress": frames.encode("progress", {"fraction": 0.25, "message": "a quarter"}),
            "progress_bare": frames.encode("progress", {"fraction": 1.0, "message": None}),
            "result": frames.encode_value("result", b"null", call=7, reusable=True),
            "failure": frames.encode(
                "failure", {"call": 1, "code": "handler_raised", "message": "ValueError: no", "details": details}
            ),
        }
        self.assertEqual({g["name"]: g["text"] for g in GOLDEN}, {n: body(f).decode() for n, f in made.items()})

    def test_text_that_is_no_unicode_is_sent_all_the_same(self) -> None:
        self.assertIn(b'"text":"?"', frames.encode("log", {"stream": "log", "text": "\ud800"}))

    def test_calls_are_read_whole_and_the_end_is_none(self) -> None:
        ours, theirs = socket.socketpair()
        call = frames.encode("call", {"input": "x" * 100_000})
        channel = frames.Channel(theirs)
        ours.sendall(call[:10])
        ours.sendall(call[10:])
        received = channel.receive()
        assert received is not None
        self.assertEqual(len(received["input"]), 100_000)
        ours.sendall(call[:10])
        ours.close()
        self.assertIsNone(channel.receive())
        theirs.close()

    def test_a_disowned_channel_sends_nothing(self) -> None:
        ours, theirs = socket.socketpair()
        channel = frames.Channel(theirs)
        self.assertTrue(channel.send(b"one"))
        channel.disown()
        self.assertFalse(channel.send(b"two"))
        self.assertEqual(ours.recv(10), b"one")
        self.assertEqual(ours.recv(10), b"")
        ours.close()
