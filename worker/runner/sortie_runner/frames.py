"""The channel between the process of a call and the worker: frames on two pipes of their own.

A frame is its length (4 bytes, big-endian) and one JSON object with the field `kind`. To the runner: `call`.
To the worker: `code`
before the handler runs, if the call came without, `chunk`, `log`, `progress`, and one `result` or `failure`, with the number of
the call. worker/src/python/frame.rs is the other
side; both are tested against fixtures/frames.json.
"""

import json
import os
import threading
from typing import Any

# Bytes of the length. Without `struct` and its pages: a call touches few others.
HEADER = 4
# The source of an action, an input, and what surrounds them.
CALL_BYTES = 4 * 1024 * 1024
# What is read at once, at least: a small call in one piece.
READ_BYTES = 16 * 1024
# Exit status of a process whose channel is gone: the handler closed it, or the worker is dead.
CHANNEL_GONE = 70
# Made once: `json.dumps` would make one for each frame.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Without the looks for white space around the object: the worker writes none.
_decode = json.JSONDecoder().raw_decode


def encode(kind: str, fields: dict[str, Any]) -> bytes:
    """A frame. Text that is no Unicode (a lone surrogate) is written as question marks."""
    body = _encode({"kind": kind, **fields})
    return _framed(body.encode("utf-8", "replace"))


def encode_code(packed: str | None) -> bytes:
    """A `code` frame (`loader.pack`)."""
    return _framed(f'{{"kind":"code","value":{_encode(packed)}}}'.encode())


def encode_chunk(value: bytes) -> bytes:
    """A `chunk` frame; the value is JSON text that has been made and checked before."""
    return _framed(b'{"kind":"chunk","value":' + value + b"}")


def encode_result(call: int, value: bytes, reusable: bool) -> bytes:
    """A `result` frame, likewise. Written by hand: there is one in every call."""
    head = f'{{"kind":"result","call":{call},"reusable":{"true" if reusable else "false"},"value":'
    return _framed(head.encode() + value + b"}")


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(HEADER, "big") + body


class Channel:
    """Our end of the channel: the pipe that calls come by and the one that answers go by. Frames of several threads
    don't mix; a process forked by the handler has none."""

    def __init__(self) -> None:
        self._calls = self._answers = -1
        self._open = False
        self._lock = threading.Lock()
        self._read = b""

    def open(self, calls: int, answers: int) -> None:
        """Gives it its pipes: it can be made before them."""
        self._calls, self._answers = calls, answers
        self._open = True

    def send(self, frame: bytes) -> bool:
        """Sends a frame in one piece. False in a process that the handler forked; ends ours if the channel is gone."""
        with self._lock:
            if not self._open:
                return False
            try:
                sent = os.write(self._answers, frame)
                while sent < len(frame):
                    sent += os.write(self._answers, memoryview(frame)[sent:])
            except OSError:
                os._exit(CHANNEL_GONE)
            return True

    def receive(self) -> dict[str, Any] | None:
        """The next call, or `None` when the worker has closed the channel."""
        if not self._has(HEADER):
            return None
        size = int.from_bytes(self._read[:HEADER], "big")
        if size > CALL_BYTES:
            os._exit(CHANNEL_GONE)
        end = HEADER + size
        if not self._has(end):
            return None
        body, self._read = self._read[HEADER : end], self._read[end:]
        return _decode(body.decode())[0]

    def disown(self) -> None:
        """Closes the channel in a process that the handler forked: only the process of the call may answer."""
        self._lock = threading.Lock()
        if self._open:
            self._open = False
            for descriptor in (self._calls, self._answers):
                try:
                    os.close(descriptor)
                except OSError:  # The handler was quicker.
                    pass

    def _has(self, size: int) -> bool:
        """Reads until so many bytes are there; false if the worker has closed the channel before."""
        missing = size - len(self._read)
        if missing <= 0:
            return True
        parts = [self._read]
        while missing > 0:
            try:
                # A whole frame at once, if it is small.
                part = os.read(self._calls, max(missing, READ_BYTES))
            except OSError:
                return False
            if not part:
                return False
            parts.append(part)
            missing -= len(part)
        self._read = b"".join(parts)
        return True
