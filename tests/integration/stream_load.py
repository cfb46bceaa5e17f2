"""Opens many event streams of one job and follows them to the end: `python stream_load.py HOST PORT TOKEN UUID COUNT`.

Run as a process of its own, so that reading them does not slow down who measures. Prints a line when all are open, and
at the end a JSON object with the number of streams that saw the job's end, and the lengths of the logs that they saw.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

_OPENING = 100


async def _follow(
    request: bytes, host: str, port: int, opened: asyncio.Event, turn: asyncio.Semaphore
) -> tuple[bool, int]:
    """Return whether the end was seen, and the characters of the log."""
    reader = writer = None
    async with turn:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        status = await reader.readline()
        assert b" 200 " in status, status
    opened.set()
    ended, printed, kind = False, 0, b""
    try:
        while line := await reader.readline():
            if line.startswith(b"event: "):
                kind = line[7:].strip()
            elif line.startswith(b"data: ") and kind == b"log":
                printed += len(json.loads(line[6:])["text"])
            elif line.startswith(b"data: ") and b'"SUCCESS"' in line:
                ended = True
                break
    finally:
        writer.close()
    return ended, printed


async def main(host: str, port: int, token: str, uuid: str, count: int) -> None:
    """Follow a job with that many streams."""
    request = (
        f"GET /jobs/{uuid}/events HTTP/1.1\r\nHost: {host}\r\nx-api-key: {token}\r\nAccept: text/event-stream\r\n\r\n"
    ).encode()
    turn, opened = asyncio.Semaphore(_OPENING), [asyncio.Event() for _ in range(count)]
    tasks = [asyncio.ensure_future(_follow(request, host, port, event, turn)) for event in opened]
    for event in opened:
        await event.wait()
    print("open", flush=True)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    good = [one for one in found if isinstance(one, tuple)]
    errors = Counter(repr(one)[:200] for one in found if not isinstance(one, tuple))
    result = {
        "ended": sum(ended for ended, _ in good),
        "printed": dict(Counter(printed for _, printed in good)),
        "errors": dict(errors),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])))
