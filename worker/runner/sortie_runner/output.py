"""What a handler returned or yielded, as JSON text: strict, with the place of what doesn't fit."""

import json
import math
from typing import Any

from .failure import Failure

# protocol/src/json.rs
DEPTH = 64
# What is told of the way to what lies too deep.
PATH_CHARS = 200
# Integers below fit into a number of JSON without a further look.
LARGE = 2**63
# Made once: `json.dumps` would make one for each value.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(value: Any, what: str, limit: int) -> bytes:
    """JSON text of `value`; fails with `output_not_json` or `output_too_large`."""
    try:
        _check(value, 0)
    except _Unfit as unfit:
        raise unfit.failure(what) from None
    text = _encode(value).encode()
    if len(text) > limit:
        raise Failure("output_too_large", f"{what} has {len(text):,} bytes of JSON; it may have {limit:,}")
    return text


class _Unfit(Exception):
    """What was found that doesn't fit. Who sees it pass adds where: places cost nothing where all fits."""

    def __init__(self, found: str, path_chars: int | None = None) -> None:
        super().__init__(found)
        self.found = found
        self.path_chars = path_chars
        self.path = ""

    def below(self, key: Any) -> "_Unfit":
        """The same, seen from the object or list that has it at `key`."""
        self.path = f"/{key}{self.path}"
        return self

    def failure(self, what: str) -> Failure:
        """What the handler is told."""
        path = self.path[: self.path_chars]
        place = f" at {path}" if path else ""
        return Failure("output_not_json", f"{what} has{place} {self.found}", pointer=path)


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value)
    elif value is None or isinstance(value, bool):
        pass
    elif isinstance(value, int):
        if not -LARGE < value < LARGE:
            _check_number(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _Unfit(f"{value!r}, which JSON has no number for")
    elif isinstance(value, dict):
        _check_depth(depth)
        for key, item in value.items():
            if not isinstance(key, str):
                raise _Unfit(f"a key of type {type(key).__qualname__}; keys must be strings")
            if not key.isascii():
                _check_text(key)
            try:
                _check(item, depth + 1)
            except _Unfit as unfit:
                raise unfit.below(key[:64])
    elif isinstance(value, (list, tuple)):
        _check_depth(depth)
        for index, item in enumerate(value):
            try:
                _check(item, depth + 1)
            except _Unfit as unfit:
                raise unfit.below(index)
    else:
        raise _Unfit(f"a value of type {type(value).__qualname__}, which is not JSON")


def _check_depth(depth: int) -> None:
    if depth >= DEPTH:
        raise _Unfit(f"more than {DEPTH} levels (or itself)", PATH_CHARS)


def _check_number(number: int) -> None:
    try:
        float(number)
    except OverflowError:
        raise _Unfit("an integer that is too large for JSON") from None


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unfit("a string that is not Unicode (a lone surrogate)") from None
