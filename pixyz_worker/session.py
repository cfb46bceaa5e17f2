"""Sessions of the Pixyz SDK, or of our own kernel where that is not installed."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from pixyz_worker.exception import LicenseUnavailable
from pixyz_worker.license import License
from pixyz_worker.pc import ProgramContext

_KERNEL = "pixyz_worker.kernel.session"


class PiXYZSession:
    """A session with an empty scene, emptied again at the end: of the Pixyz SDK, or of our own kernel.

    Our own kernel has again what it had before, so that a task which runs in the process of another leaves that one
    its scenes. The argument is optional: a context, or a License as in old scripts.

    >>> with PiXYZSession(ProgramContext()) as session:
    ...     pass
    """

    def __init__(self, pc: ProgramContext | License | None = None) -> None:
        self.pc = pc if isinstance(pc, ProgramContext) else None
        self.license = pc if isinstance(pc, License) else License()
        self._before: tuple[Any, ...] = ()

    def __enter__(self) -> Self:
        self.license.__enter__()
        if self.license.sdk is None:
            from pixyz_worker.kernel import session

            self._before = session.scenes()
        self._empty()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._empty()
            self._put_back()
        finally:
            self.license.__exit__(kind, error, traceback)

    @staticmethod
    def initialize(mandatory: bool = False) -> None:
        """Begin a session that lasts until `release()`; where there is one already, it goes on.

        Args:
            mandatory: the Pixyz SDK itself has to be there.

        Raises:
            LicenseUnavailable: it is mandatory and not installed, or there is no seat.
        """
        if License().acquire() is None and mandatory:
            raise LicenseUnavailable("the Pixyz SDK is not installed here, or switched off by DISABLE_PIXYZ")

    initialize_import = initialize

    @staticmethod
    def release() -> None:
        """End the session and give its seat back; without one, nothing is done."""
        License().release()
        if (pxz := sys.modules.get("pixyz_worker.kernel.pxz.current")) is not None:
            pxz.release()
        elif (kernel := sys.modules.get(_KERNEL)) is not None:
            kernel.reset()

    @staticmethod
    def reset() -> None:
        """Empty the scene; the session and its seat stay."""
        from pixyz_worker.kernel.sdk import genuine

        sdk = genuine()
        if sdk is not None and sdk.get_current_session() is not None:
            sdk.core.resetSession()
        elif (kernel := sys.modules.get(_KERNEL)) is not None:
            kernel.reset()

    @staticmethod
    def initialize_at_start_if_needed(license: License) -> None:
        """Begin a session, unless the licence is one that is held from the start of the worker on."""
        if not license.is_acquire_at_start():
            PiXYZSession.initialize()

    @staticmethod
    def release_at_shutdown_if_needed(license: License) -> None:
        """End the session; where the licence is held from the start of the worker on, only empty it."""
        if license.is_acquire_at_start():
            PiXYZSession.reset()
        else:
            PiXYZSession.release()

    def _empty(self) -> None:
        if self.license.sdk is not None:
            self.license.sdk.core.resetSession()
            return
        from pixyz_worker.kernel import session

        session.reset()

    def _put_back(self) -> None:
        if self._before:
            from pixyz_worker.kernel import session

            for scene in self._before:
                session.add(scene)
            self._before = ()
