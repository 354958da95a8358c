"""What a handler prints and logs, as `log` frames in the order of its chunks.

Lines go out at once. Past the limit nothing more is sent: the worker marks the cut when it gets the first byte too
many. What goes past us (subprocesses, `os.write(1, ...)`) reaches the worker through a pipe on descriptors 1 and 2.
"""

import io
import logging
import os
import sys
import threading

from .frames import Channel, encode

LINE_CHARS = 8 * 1024


class Log:
    """Sends log text until the limit of the call is reached."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._left = 0

    def reset(self, limit: int) -> None:
        """Starts a new call, which may log `limit` bytes (and one more, so that the worker sees the excess)."""
        self._left = limit + 1

    def send(self, stream: str, text: str) -> None:
        """Sends `text`, or what still fits."""
        if self._left <= 0:
            return
        size = len(text.encode("utf-8", "replace"))
        if size > self._left:
            # A character has at least one byte, so this is still at least as much as fits.
            text = text[: self._left]
        self._left -= size
        if not self._channel.send(encode("log", {"stream": stream, "text": text})):
            os.write(2 if stream == "stderr" else 1, text.encode("utf-8", "replace"))

    @property
    def full(self) -> bool:
        """True once more was logged than may be."""
        return self._left <= 0


class Stream(io.TextIOBase):
    """Stands in for `sys.stdout` or `sys.stderr`: line-buffered, safe for threads."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, log: Log, name: str, descriptor: int) -> None:
        self._log = log
        self._stream = name
        self._descriptor = descriptor
        self._line = ""
        self._lock = threading.RLock()
        self.buffer = io.FileIO(descriptor, "wb", closefd=False)

    def write(self, text: str) -> int:
        """Keeps the text until its line ends."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._log.full:
            return len(text)
        with self._lock:
            self._line += text
            if "\n" in text or len(self._line) > LINE_CHARS:
                end = self._line.rfind("\n") + 1 or len(self._line)
                complete, self._line = self._line[:end], self._line[end:]
                self._log.send(self._stream, complete)
        return len(text)

    def flush(self) -> None:
        """Sends an unfinished line."""
        if not self._line:
            return
        with self._lock:
            text, self._line = self._line, ""
            if text:
                self._log.send(self._stream, text)

    def fileno(self) -> int:
        """The descriptor that subprocesses get."""
        return self._descriptor

    def writable(self) -> bool:
        """Always true."""
        return True

    def renew(self) -> None:
        """A lock of our own in a process that the handler forked while a thread may have held it."""
        self._lock = threading.RLock()


class LogHandler(logging.Handler):
    """Sends records of `logging`."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record as a line."""
        try:
            self._log.send("log", self.format(record) + "\n")
        except Exception:
            self.handleError(record)


class Capture:
    """Replaces the standard streams and the root logger's handlers in the process of a call."""

    def __init__(self, channel: Channel) -> None:
        self.log = Log(channel)
        self.streams = (Stream(self.log, "stdout", 1), Stream(self.log, "stderr", 2))
        logging.root.handlers[:] = [LogHandler(self.log)]
        logging.root.setLevel(logging.INFO)

    def install(self) -> None:
        """Takes the streams. Until then they are those of the process: what goes wrong there is told by them."""
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self.streams  # type: ignore[misc,assignment]

    def flush(self) -> None:
        """Sends unfinished lines, so that they come before the next frame."""
        for stream in self.streams:
            stream.flush()

    def renew(self) -> None:
        """See `Stream.renew`."""
        for stream in self.streams:
            stream.renew()
