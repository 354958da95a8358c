"""Turns a handler's source into a function to call.

Compiling it takes longer than everything else in most calls. So the worker keeps what the first call of a version has
compiled, and gives it to the others.
"""

import inspect
import linecache
import marshal
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib import _bootstrap_external
from typing import Any

from .failure import FILE, Failure

MODULE = "handler"
ENTRY = "handle_event"
# What the interpreter has compiled begins with this: another one can't read it.
MAGIC = _bootstrap_external.MAGIC_NUMBER.hex()
# Larger code is compiled for each call. As text: 256 KiB of code.
PACKED_CHARS = 512 * 1024
# The flags of functions that take `*args` or `**kwargs`.
VARIABLE = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


@dataclass(frozen=True)
class Handler:
    """A loaded handler."""

    function: Callable[..., Any]
    takes_context: bool


def compiled(source: str) -> types.CodeType:
    """Compiles the module. Nothing of it runs."""
    try:
        return compile(source, FILE, "exec", dont_inherit=True)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        details = {"type": type(error).__qualname__, "line": error.lineno, "column": error.offset}
        raise Failure("handler_invalid", f"{where}{error.msg}", **details) from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        name = type(error).__qualname__
        raise Failure("handler_invalid", f"the source can't be compiled: {name}: {error}", type=name) from None


def pack(code: types.CodeType) -> str | None:
    """Code as text that the worker can keep; `None` if that is too much."""
    packed = MAGIC + marshal.dumps(code).hex()
    return packed if len(packed) <= PACKED_CHARS else None


def unpack(packed: str) -> types.CodeType | None:
    """The code again; `None` if it is another interpreter's. It must be ours: what was made up can do anything."""
    return marshal.loads(bytes.fromhex(packed[len(MAGIC) :])) if packed.startswith(MAGIC) else None


def load(source: str, code: types.CodeType) -> Handler:
    """Runs the module, which is the code of this source. What its top level raises passes through."""
    module = types.ModuleType(MODULE)
    module.__file__ = FILE
    # Classes, pickles and tracebacks of the handler look their module and its text up.
    sys.modules[MODULE] = module
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    exec(code, module.__dict__)
    function = module.__dict__.get(ENTRY)
    if function is None:
        raise Failure("handler_missing", f"the source defines no function {ENTRY}(data)")
    if not callable(function):
        raise Failure("handler_missing", f"{ENTRY} is of type {type(function).__qualname__} and can't be called")
    return Handler(function, _takes_context(function))


def _takes_context(function: Callable[..., Any]) -> bool:
    """True if the second positional parameter is there for the context: it is required, is named `context`, or is
    part of `*args`. One with a default and another name is the handler's own."""
    if type(function) is types.FunctionType and not function.__dict__:
        # The usual ones, told from their code: a signature takes as long as all the rest of loading.
        code = function.__code__
        if not code.co_kwonlyargcount and not code.co_flags & VARIABLE and 1 <= code.co_argcount <= 2:
            return code.co_argcount == 2 and (not function.__defaults__ or code.co_varnames[1] == "context")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # Some callables tell no signature.
        return False
    variable = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    required = [p for p in [*positional[2:], *named] if p.default is p.empty]
    if required or not (positional or variable):
        raise Failure("handler_missing", f"{ENTRY} must take (data) or (data, context), not {_signature(function)}")
    if len(positional) < 2:
        return variable
    return positional[1].default is inspect.Parameter.empty or positional[1].name == "context"


def _signature(function: Callable[..., Any]) -> str:
    return str(inspect.signature(function))[:200]
