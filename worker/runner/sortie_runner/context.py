"""What a handler is told about its call: the second argument of `handle_event(data, context)`."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any


class Context:
    """One call. `deadline` is when the job's result becomes worthless; `remaining()` is what is left of this attempt."""

    __slots__ = ("job", "action", "attempt", "deadline", "traceparent", "secrets", "_ends", "_tell")

    def __init__(self, fields: dict[str, Any], tell: Callable[[float, str | None], None]) -> None:
        self.job: str = fields["job"]
        self.action: str = fields["action"]
        self.attempt: int = fields["attempt"]
        self.deadline: datetime = datetime.fromisoformat(fields["deadline"])
        self.traceparent: str | None = fields.get("traceparent")
        # The secrets that the action names, by name. Read-only: what is changed here would reach nobody.
        self.secrets: Mapping[str, str] = MappingProxyType(fields.get("secrets", {}))
        self._ends = time.monotonic() + fields["remaining_ms"] / 1000
        self._tell = tell

    def remaining(self) -> float:
        """Seconds until this attempt is killed, never below 0."""
        return max(0.0, self._ends - time.monotonic())

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tells how far the call is: from 0 to 1, and a word about it."""
        fraction = float(fraction)
        if not (math.isfinite(fraction) and 0 <= fraction <= 1):
            raise ValueError(f"progress must lie between 0 and 1, not {fraction}")
        self._tell(fraction, None if message is None else str(message))
