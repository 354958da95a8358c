"""How a call fails: the codes that the runner gives, and what an exception tells about the handler."""

import traceback
from typing import Any

# The name under which the source appears in tracebacks.
FILE = "handler.py"
MESSAGE_CHARS = 4 * 1024
TRACEBACK_CHARS = 16 * 1024


class Failure(Exception):
    """The end of a call without a result. `code` is one of protocol/src/error/codes.rs."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def fields(self) -> dict[str, Any]:
        """The fields of a `failure` frame."""
        return {"code": self.code, "message": _cut(self.message, MESSAGE_CHARS), "details": self.details}


def of_exception(error: BaseException, memory_mb: int) -> Failure:
    """The failure that an exception of the handler is."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, SystemExit):
        return Failure("handler_exited", f"the handler called sys.exit({_text(error.code, repr)})")
    name = type(error).__qualname__
    message = _text(error, str)
    if isinstance(error, MemoryError):
        told = f"the handler needed more than its memory_mb of {memory_mb} MiB"
        return Failure("out_of_memory", told, type=name, traceback=traceback_of(error))
    told = f"{name}: {message}" if message else name
    return Failure("handler_raised", told, type=name, traceback=traceback_of(error))


def traceback_of(error: BaseException) -> str:
    """The traceback with the frames of the handler's source only, and of what caused the exception."""
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__, limit=-200)
        _keep_handler_frames(told, 0)
        return _cut("".join(told.format()), TRACEBACK_CHARS)
    except BaseException:  # An exception class can fail in every way while it is looked at.
        return ""


def _keep_handler_frames(told: traceback.TracebackException, depth: int) -> None:
    told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if frame.filename == FILE])
    for other in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if other is not None and depth < 20:
            _keep_handler_frames(other, depth + 1)


def _text(value: object, spell: Any) -> str:
    try:
        return _cut(str(spell(value)), MESSAGE_CHARS)
    except BaseException:  # The same: `__str__` and `__repr__` are the handler's code.
        return f"<{type(value).__qualname__} that can't be shown>"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "… [cut]"
