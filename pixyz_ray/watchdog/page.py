"""A page of shared memory: what a worker says to its watchdog without a system call, and the other way round."""

from __future__ import annotations

import os
from mmap import mmap
from struct import Struct

_SIZE = 4096
# Eight-byte numbers: those that the watchdog writes, and those that the worker writes one at a time.
_SERIAL, _STOPPED, _USAGE_OF, _PEAK_RSS, _PEAK_USS, _CPU_US, _EXIT_CODE, _GROUP, _PEAK_GPU = range(9)
# The order, written whole: attempt, memory limit, limit on a GPU, bytes of log, began, CPU time before, uuid, path of
# the log.
_ORDER = Struct("@6Q64s1024s")
_ORDER_AT = 128
UNBOUNDED = 2**64 - 1
"""Limit of an attempt that may take all memory of its GPUs; one that has no GPU has the limit 0."""
UNWATCHED = 2**64 - 1
"""Peak of an attempt whose GPU memory is not known on this machine."""
# Where the tracker listens, written when it changes: port, host, secret.
_ENDPOINT = Struct("@Q256s256s")
_ENDPOINT_AT = 2048

Endpoint = tuple[str, int, str]
"""Host, port and secret of the tracker's channel."""


class Order:
    """What the watchdog has to know of the attempt that runs."""

    __slots__ = (
        "attempt",
        "began_ns",
        "cpu_us",
        "endpoint",
        "gpu_limit",
        "log",
        "max_log_bytes",
        "memory_limit",
        "serial",
        "uuid",
    )

    def __init__(
        self, serial: int, order: tuple[int, int, int, int, int, int, bytes, bytes], endpoint: Endpoint
    ) -> None:
        self.serial = serial
        """Odd number that this attempt alone has in this worker."""
        self.attempt, self.memory_limit, self.gpu_limit, self.max_log_bytes, self.began_ns, self.cpu_us = order[:6]
        self.uuid = _text(order[6])
        """The job."""
        self.log = os.fsdecode(order[7].rstrip(b"\0"))
        """Path of the job's log; empty for none."""
        self.endpoint = endpoint if endpoint[1] else None
        """The tracker's channel, if there is one."""


class Page:
    """The page as both sides see it.

    Each number is written by one side alone and in one store, so that neither ever sees half of it.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap(descriptor, _SIZE)
        self._numbers = memoryview(self._memory).cast("Q")
        self._endpoint: Endpoint | None = None

    @classmethod
    def make(cls) -> Page:
        """Return a new page."""
        descriptor = os.memfd_create("pixyz-page")
        os.ftruncate(descriptor, _SIZE)
        return cls(descriptor)

    # What the worker writes.

    @property
    def serial(self) -> int:
        """Even: the worker is idle. Odd: an attempt runs, and no other ever gets this number."""
        return self._numbers[_SERIAL]

    @serial.setter
    def serial(self, value: int) -> None:
        self._numbers[_SERIAL] = value

    @property
    def exit_code(self) -> int | None:
        """What the attempt's process handed to os._exit."""
        return self._numbers[_EXIT_CODE] - 1 if self._numbers[_EXIT_CODE] else None

    @exit_code.setter
    def exit_code(self, value: int | None) -> None:
        self._numbers[_EXIT_CODE] = 0 if value is None else 1 + (value & 0xFF)

    @property
    def group(self) -> int:
        """The process group that is the worker's alone; 0 where it shares one."""
        return self._numbers[_GROUP]

    @group.setter
    def group(self, value: int) -> None:
        self._numbers[_GROUP] = value

    def write_order(
        self, attempt: int, limit: int, gpu_limit: int, log_bytes: int, began: int, cpu: int, uuid: bytes, log: bytes
    ) -> None:
        """Write what the next attempt is; its serial number comes after."""
        # A path that does not fit is none: half a path would be that of another file.
        _ORDER.pack_into(
            self._memory,
            _ORDER_AT,
            attempt,
            limit,
            gpu_limit,
            log_bytes,
            began,
            cpu,
            uuid,
            log if len(log) < 1024 else b"",
        )
        self._numbers[_EXIT_CODE] = 0

    def write_endpoint(self, endpoint: Endpoint | None) -> None:
        """Write where the tracker listens, unless that stands there already."""
        if endpoint is not self._endpoint and endpoint != self._endpoint:
            host, port, secret = endpoint or ("", 0, "")
            _ENDPOINT.pack_into(self._memory, _ENDPOINT_AT, port, host.encode(), secret.encode())
            self._endpoint = endpoint

    # What the watchdog writes.

    @property
    def stopped(self) -> int:
        """The serial number of the last attempt that was told to stop."""
        return self._numbers[_STOPPED]

    @stopped.setter
    def stopped(self, value: int) -> None:
        self._numbers[_STOPPED] = value

    def write_usage(self, serial: int, peak_rss: int, peak_uss: int, cpu_us: int, peak_gpu: int) -> None:
        """Write what was seen of an attempt's processes: bytes, bytes, microseconds, bytes on a GPU or UNWATCHED."""
        numbers = self._numbers
        numbers[_PEAK_GPU] = peak_gpu
        numbers[_PEAK_RSS], numbers[_PEAK_USS], numbers[_CPU_US] = peak_rss, peak_uss, cpu_us
        numbers[_USAGE_OF] = serial

    def usage(self, serial: int) -> tuple[int, int, int, int]:
        """Return what the watchdog has seen of an attempt's processes, or zeros if it lasted too short for that."""
        numbers = self._numbers
        if numbers[_USAGE_OF] != serial:
            return 0, 0, 0, 0
        return numbers[_PEAK_RSS], numbers[_PEAK_USS], numbers[_CPU_US], numbers[_PEAK_GPU]

    def order(self) -> Order | None:
        """Return the attempt that runs, None when none does."""
        while (serial := self.serial) & 1:
            order = _ORDER.unpack_from(self._memory, _ORDER_AT)
            port, host, secret = _ENDPOINT.unpack_from(self._memory, _ENDPOINT_AT)
            if self.serial == serial:
                return Order(serial, order, (_text(host), port, _text(secret)))
        return None


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode()
