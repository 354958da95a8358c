"""Capture: lines go out whole, in order, up to the limit."""

import json
import logging
import os
import unittest

from sortie_runner.capture import Log, LogHandler, Stream
from sortie_runner.frames import Channel


class Capture(unittest.TestCase):
    def setUp(self) -> None:
        self.ours, answers = os.pipe()
        os.set_blocking(self.ours, False)
        self.addCleanup(os.close, self.ours)
        channel = Channel()
        channel.open(os.open(os.devnull, os.O_RDONLY), answers)
        self.addCleanup(channel.disown)
        self.log = Log(channel)
        self.log.reset(20)

    def told(self) -> list[tuple[str, str]]:
        """What was sent so far."""
        frames = []
        try:
            while header := os.read(self.ours, 4):
                frame = json.loads(os.read(self.ours, int.from_bytes(header, "big")))
                frames.append((frame["stream"], frame["text"]))
        except BlockingIOError:
            pass
        return frames

    def test_lines_go_out_when_they_end_and_the_rest_when_flushed(self) -> None:
        stream = Stream(self.log, "stdout", 1)
        print("a", "b", file=stream)
        print("c", end="", file=stream)
        self.assertEqual(self.told(), [("stdout", "a b\n")])
        stream.flush()
        self.assertEqual(self.told(), [("stdout", "c")])

    def test_one_byte_more_than_the_limit_is_sent_and_then_nothing(self) -> None:
        stream = Stream(self.log, "stderr", 2)
        for _ in range(1000):
            print("123456789", file=stream)
        told = "".join(text for _, text in self.told())
        self.assertEqual(len(told), 21)

    def test_records_are_lines(self) -> None:
        record = logging.LogRecord("mine", logging.WARNING, "", 0, "%s left", ("one",), None)
        LogHandler(self.log).emit(record)
        self.assertEqual(self.told(), [("log", "WARNING mine: one lef")])

    def test_a_stream_takes_text_only(self) -> None:
        stream = Stream(self.log, "stdout", 1)
        with self.assertRaises(TypeError):
            stream.write(b"bytes")  # type: ignore[arg-type]
        self.assertTrue(stream.writable())
        self.assertEqual(stream.fileno(), 1)
