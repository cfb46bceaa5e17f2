"""Licence seats of the Pixyz SDK: taken where the SDK is installed, nothing where it is not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pixyz_worker.exception import InvalidBackendParameter, LicenseUnavailable

_YES = frozenset({"1", "true", "yes", "on"})
_DEFAULT_PORT = 27000


@dataclass(frozen=True, kw_only=True, slots=True)
class LicenseSettings:
    """Where licences come from, as the environment says."""

    host: str | None
    """LICENSE_HOST: licence server; None leaves it to the SDK."""

    port: int
    """LICENSE_PORT: its port."""

    flexlm: bool
    """LICENSE_FLEXLM: whether it speaks FlexLM."""

    acquire_at_start: bool
    """LICENSE_ACQUIRE_AT_START: take the seat when a session begins, not when it is first needed."""

    @classmethod
    def from_environment(cls) -> LicenseSettings:
        """Read the settings as they are now."""
        port = os.environ.get("LICENSE_PORT") or str(_DEFAULT_PORT)
        if not port.isdigit():
            raise InvalidBackendParameter(f"LICENSE_PORT must be a number, not {port!r}")
        return cls(
            host=os.environ.get("LICENSE_HOST") or None,
            port=int(port),
            flexlm=is_on("LICENSE_FLEXLM"),
            acquire_at_start=is_on("LICENSE_ACQUIRE_AT_START"),
        )


class License:
    """A licence seat for the length of a `with`; inside another one, it is that one's seat.

    >>> with License():
    ...     pass
    """

    def __init__(self) -> None:
        self.sdk: Any = None
        """The genuine SDK while inside, if there is one."""
        self._owner = False

    def __enter__(self) -> Self:
        settings = LicenseSettings.from_environment()
        self.sdk = _sdk()
        if self.sdk is not None and self.sdk.get_current_session() is None:
            self.sdk.set_current_session(self.sdk.initialize())
            self._owner = True
            try:
                _take_seat(self.sdk, settings)
            except BaseException:
                self._release()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._release()

    def _release(self) -> None:
        sdk, self.sdk = self.sdk, None
        if self._owner:
            self._owner = False
            sdk.release()
            sdk.set_current_session(None)


def _sdk() -> Any:
    """The Pixyz SDK with its core, or None where it is not installed or switched off by DISABLE_PIXYZ."""
    from pixyz_worker.kernel.sdk import genuine

    sdk = genuine()
    if sdk is not None:
        from importlib import import_module

        import_module("pxz.core")
    return sdk


def _take_seat(sdk: Any, settings: LicenseSettings) -> None:
    if settings.host is not None:
        sdk.core.configureLicenseServer(settings.host, settings.port, settings.flexlm)
    if settings.acquire_at_start and not sdk.core.checkLicense():
        where = f"{settings.host}:{settings.port}" if settings.host else "this machine"
        raise LicenseUnavailable(f"no Pixyz licence could be had from {where}; see LICENSE_HOST and LICENSE_PORT")


def is_on(name: str) -> bool:
    """Whether an environment variable says yes."""
    return os.environ.get(name, "").strip().lower() in _YES
