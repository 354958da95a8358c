"""What a handler returned or yielded, as JSON text: strict, with the place of what doesn't fit."""

import json
import math
from typing import Any

from .failure import Failure

# protocol/src/json.rs
DEPTH = 64
# Made once: `json.dumps` would make one for each value.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(value: Any, what: str, limit: int) -> bytes:
    """JSON text of `value`; fails with `output_not_json` or `output_too_large`."""
    _check(value, what, "", 0)
    text = _encode(value).encode()
    if len(text) > limit:
        raise Failure("output_too_large", f"{what} has {len(text):,} bytes of JSON; it may have {limit:,}")
    return text


def _check(value: Any, what: str, path: str, depth: int) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(value, what, path)
    elif isinstance(value, int):
        try:
            float(value)
        except OverflowError:
            raise _refused(what, path, "an integer that is too large for JSON") from None
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(what, path, f"{value!r}, which JSON has no number for")
    elif isinstance(value, dict):
        _check_depth(what, path, depth)
        for key, item in value.items():
            if not isinstance(key, str):
                raise _refused(what, path, f"a key of type {type(key).__qualname__}; keys must be strings")
            _check_text(key, what, path)
            _check(item, what, f"{path}/{key[:64]}", depth + 1)
    elif isinstance(value, (list, tuple)):
        _check_depth(what, path, depth)
        for index, item in enumerate(value):
            _check(item, what, f"{path}/{index}", depth + 1)
    else:
        raise _refused(what, path, f"a value of type {type(value).__qualname__}, which is not JSON")


def _check_depth(what: str, path: str, depth: int) -> None:
    if depth >= DEPTH:
        raise _refused(what, path[:200], f"more than {DEPTH} levels (or itself)")


def _check_text(text: str, what: str, path: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _refused(what, path, "a string that is not Unicode (a lone surrogate)") from None


def _refused(what: str, path: str, found: str) -> Failure:
    place = f" at {path}" if path else ""
    return Failure("output_not_json", f"{what} has{place} {found}", pointer=path)
