"""The machine's memory: how much of it is taken, of the control group's where that has a limit of its own."""

from __future__ import annotations

import os

from pixyz_ray.watchdog.process_tree import content

THRESHOLD = "PIXYZ_MEMORY_THRESHOLD"
"""Variable with the share of the machine's memory from which on the largest attempt has to go; 0 for never."""
_USUAL_THRESHOLD = 0.95


class Machine:
    """What all on this machine take together."""

    def __init__(self) -> None:
        try:
            self.threshold = float(os.environ.get(THRESHOLD) or _USUAL_THRESHOLD)
        except ValueError:
            self.threshold = _USUAL_THRESHOLD
        self._groups = [group for group in _groups() if _number(group[0]) is not None]
        self.taken = 1
        """Bytes that are taken, as far as it is full."""

    def is_full(self) -> bool:
        """Return whether more is taken than the threshold allows."""
        if not self.threshold:
            return False
        fields = dict(_fields("/proc/meminfo"))
        total = fields.get(b"MemTotal:", 0) * 1024
        self.taken = max(1, total - fields.get(b"MemAvailable:", 0) * 1024)
        return self.taken > self.threshold * total or any(self._is_full(total, *group) for group in self._groups)

    def _is_full(self, total: int, limit_path: str, used_path: str, stat_path: str, cache: bytes) -> bool:
        limit, used = _number(limit_path), _number(used_path)
        if limit is None or used is None or limit >= total:
            return False
        # What the kernel can take back at once is no use of memory.
        self.taken = max(1, used - dict(_fields(stat_path)).get(cache, 0))
        return self.taken > self.threshold * limit


def _groups() -> list[tuple[str, str, str, bytes]]:
    places = []
    for line in content("/proc/self/cgroup").decode().splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            at = f"/sys/fs/cgroup{group.rstrip('/')}"
            places.append((f"{at}/memory.max", f"{at}/memory.current", f"{at}/memory.stat", b"inactive_file"))
        elif "memory" in controllers.split(","):
            at = f"/sys/fs/cgroup/memory{group.rstrip('/')}/memory"
            places.append((f"{at}.limit_in_bytes", f"{at}.usage_in_bytes", f"{at}.stat", b"total_inactive_file"))
    return places


def _number(path: str) -> int | None:
    text = content(path).strip()
    return int(text) if text.isdigit() else None


def _fields(path: str) -> list[tuple[bytes, int]]:
    lines = [line.split() for line in content(path).splitlines()]
    return [(words[0], int(words[1])) for words in lines if len(words) > 1 and words[1].isdigit()]
