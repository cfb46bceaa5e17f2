"""NVML, the management library of NVIDIA's driver, by ctypes: watchdogs have no site packages.

Driver and library come together, so that there is nothing to install. Names and structures are those of nvml.h.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"
_SUCCESS = 0
_INSUFFICIENT_SIZE = 7
_MOST_PROCESSES = 4096
_NAME_BYTES = 96
"""NVML_DEVICE_NAME_V2_BUFFER_SIZE."""
_NOT_AVAILABLE = 2**64 - 1


class Nvml:
    """An open NVML; made by `open`.

    Args:
        library: NVML as ctypes has loaded it, initialised.
    """

    def __init__(self, library: Any) -> None:
        import ctypes

        class Memory(ctypes.Structure):
            """nvmlMemory_t."""

            _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))

        class ProcessInfo(ctypes.Structure):
            """nvmlProcessInfo_t, versions 2 and 3."""

            _fields_ = (
                ("pid", ctypes.c_uint),
                ("usedGpuMemory", ctypes.c_ulonglong),
                ("gpuInstanceId", ctypes.c_uint),
                ("computeInstanceId", ctypes.c_uint),
            )

        self._c, self._library, self._memory, self._process = ctypes, library, Memory, ProcessInfo
        self._room = 64
        self._lists = [name for kind in ("Compute", "Graphics") if (name := self._list_of(kind)) is not None]

    def _list_of(self, kind: str) -> Callable[..., int] | None:
        """Return the newest function that lists processes of a kind; older ones have another structure."""
        for version in ("_v3", "_v2"):
            if (found := getattr(self._library, f"nvmlDeviceGet{kind}RunningProcesses{version}", None)) is not None:
                function: Callable[..., int] = found
                return function
        return None

    @classmethod
    def open(cls) -> Nvml | None:
        """Return NVML, None where there is none or no driver."""
        # Otherwise the import and the search for the library cost every machine without a GPU.
        import ctypes

        try:
            library = ctypes.CDLL(_LIBRARY)
            return cls(library) if library.nvmlInit_v2() == _SUCCESS else None
        except (OSError, AttributeError):
            return None

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Nvml | None]:
        """Hand out NVML, and close it afterwards."""
        nvml = cls.open()
        try:
            yield nvml
        finally:
            if nvml is not None:
                nvml.close()

    def close(self) -> None:
        """Close it."""
        self._library.nvmlShutdown()

    def cards(self) -> list[dict[str, Any]]:
        """Return `model` and `memory` (bytes) of each card; none where the memory of one of them is not reported."""
        cards = []
        for handle in self._handles():
            memory = self._memory()
            if self._library.nvmlDeviceGetMemoryInfo(handle, self._c.byref(memory)) != _SUCCESS:
                return []
            cards.append({"model": self._model(handle), "memory": int(memory.total)})
        return cards

    def _model(self, handle: Any) -> str:
        name = self._c.create_string_buffer(_NAME_BYTES)
        if self._library.nvmlDeviceGetName(handle, name, _NAME_BYTES) != _SUCCESS:
            return "unknown"
        return str(name.value.decode("utf-8", "replace"))

    def usage(self) -> list[dict[int, int]] | None:
        """Return the bytes of each process on each card, by process id; None where the driver does not report it."""
        cards: list[dict[int, int]] = []
        answered = False
        for handle in self._handles():
            card: dict[int, int] = {}
            for function in self._lists:
                processes = self._processes(function, handle)
                if processes is None:
                    continue
                for pid, taken in processes:
                    if taken == _NOT_AVAILABLE:
                        return None
                    # A process that computes and draws is in both lists, with the same number.
                    card[pid] = max(card.get(pid, 0), taken)
                answered = True
            cards.append(card)
        return cards if answered else None

    def _processes(self, function: Callable[..., int], handle: Any) -> list[tuple[int, int]] | None:
        """Return the processes of one list of a card with their bytes; None if it cannot be had."""
        while self._room <= _MOST_PROCESSES:
            count = self._c.c_uint(self._room)
            infos = (self._process * self._room)()
            result = function(handle, self._c.byref(count), infos)
            if result == _SUCCESS:
                return [(info.pid, info.usedGpuMemory) for info in infos[: count.value]]
            if result != _INSUFFICIENT_SIZE:
                return None
            self._room *= 2
        return None

    def _handles(self) -> list[Any]:
        count = self._c.c_uint()
        if self._library.nvmlDeviceGetCount_v2(self._c.byref(count)) != _SUCCESS:
            return []
        handles = []
        for index in range(count.value):
            handle = self._c.c_void_p()
            if self._library.nvmlDeviceGetHandleByIndex_v2(index, self._c.byref(handle)) == _SUCCESS:
                handles.append(handle)
        return handles


def holds_gpu(descriptors: str = "/proc/self/fd") -> bool:
    """Return whether this process has a GPU open, as one that has used CUDA has to its end.

    Args:
        descriptors: folder with a link for each open file.
    """
    try:
        names = os.listdir(descriptors)  # noqa: PTH208 - pathlib is too big for a watchdog
    except OSError:
        return False
    for name in names:
        try:
            # Only the cards themselves: /dev/nvidiactl is open in a process that has just asked NVML.
            if os.readlink(f"{descriptors}/{name}").removeprefix("/dev/nvidia").isdigit():  # noqa: PTH115
                return True
        except OSError:
            pass
    return False
