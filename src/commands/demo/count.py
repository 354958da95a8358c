"""Counts, one chunk at a time: every yielded value is an event that readers see at once."""

import time


def handle_event(data, context):
    for number in range(1, data["to"] + 1):
        yield {"number": number}
        context.progress(number / data["to"])
        time.sleep(0.05)
    return {"counted": data["to"]}
