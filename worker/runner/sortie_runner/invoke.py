"""Calls a handler, whatever kind of function it is, and passes its chunks on."""

import inspect
from collections.abc import AsyncIterator, Generator
from typing import Any, Protocol

from . import output
from .context import Context
from .loader import Handler


# What is no coroutine and no generator, and what most handlers return.
PLAIN = frozenset({dict, list, str, int, float, bool, type(None)})


class Teller(Protocol):
    """Tells the worker what a call has to say before its result."""

    def chunk(self, text: bytes) -> None:
        """One chunk, as JSON text."""

    def progress(self, fraction: float, message: str | None) -> None:
        """How far the call is."""


class Chunks:
    """Sends chunks, and keeps them as long as their list fits into a result."""

    def __init__(self, teller: Teller, chunk_bytes: int, result_bytes: int) -> None:
        self._send = teller.chunk
        self._chunk_bytes = chunk_bytes
        self._left = result_bytes
        self._kept: list[bytes] = []

    def add(self, value: Any) -> None:
        """Sends one yielded value."""
        text = output.encode(value, "a chunk", self._chunk_bytes)
        self._send(text)
        self._left -= len(text) + 1
        if self._left > 1:
            self._kept.append(text)
        else:
            self._kept.clear()

    def as_result(self) -> bytes:
        """The list of chunks; `null` if the list would be larger than a result may be (the events have them all)."""
        if self._left > 1:
            return b"[" + b",".join(self._kept) + b"]"
        print("[the list of chunks is too large for a result; the result is null]")
        return b"null"


def invoke(handler: Handler, call: dict[str, Any], limits: dict[str, int], teller: Teller) -> bytes:
    """Runs the handler to its end; the JSON text of its result. What it raises passes through. What a call doesn't need
    isn't made: most take no context and return their result at once."""
    if handler.takes_context:
        value = handler.function(call["input"], Context(call["context"], teller.progress))
    else:
        value = handler.function(call["input"])
    if type(value) not in PLAIN:
        chunks = Chunks(teller, limits["chunk_bytes"], limits["result_bytes"])
        value = _run(value, chunks)
        if value is chunks:
            return chunks.as_result()
    return output.encode(value, "the result", limits["result_bytes"])


def _run(value: Any, chunks: Chunks) -> Any:
    if inspect.iscoroutine(value) or inspect.isasyncgen(value):
        # Half of all that a process would have loaded without it.
        import asyncio

        value = asyncio.run(_settle(value, chunks))
    return _drain(value, chunks) if inspect.isgenerator(value) else value


async def _settle(value: Any, chunks: Chunks) -> Any:
    if inspect.iscoroutine(value):
        value = await value
    return await _drain_async(value, chunks) if inspect.isasyncgen(value) else value


async def _drain_async(values: AsyncIterator[Any], chunks: Chunks) -> Chunks:
    async for value in values:
        chunks.add(value)
    return chunks


def _drain(values: Generator[Any, None, Any], chunks: Chunks) -> Any:
    while True:
        try:
            value = next(values)
        except StopIteration as end:
            return chunks if end.value is None else end.value
        chunks.add(value)
