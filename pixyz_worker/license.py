"""Licence seats of the Pixyz SDK: taken where the SDK is installed, nothing where it is not."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
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

    Args:
        host: licence server; each argument that is not given comes from the environment (see LicenseSettings).
        port: its port.
        acquire_at_start: take the seat when the session begins.
        flexlm: whether the server speaks FlexLM.
        disable_pixyz: do without the SDK, and so without a seat.

    >>> with License():
    ...     pass
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        acquire_at_start: bool | None = None,
        flexlm: bool | None = None,
        disable_pixyz: bool | None = None,
    ) -> None:
        self.sdk: Any = None
        """The genuine SDK while inside, if there is one."""
        self._owner = False
        given: dict[str, Any] = {"host": host, "port": port, "acquire_at_start": acquire_at_start, "flexlm": flexlm}
        self._given = {name: value for name, value in given.items() if value is not None}
        self._disabled = disable_pixyz

    @classmethod
    def from_config(cls) -> Self:
        """Return a licence with the settings of the environment; no seat is taken yet."""
        return cls()

    @property
    def settings(self) -> LicenseSettings:
        """Settings in force: the arguments, else the environment of now."""
        return replace(LicenseSettings.from_environment(), **self._given)

    @property
    def host(self) -> str | None:
        """Licence server."""
        return self.settings.host

    @property
    def port(self) -> int:
        """Its port."""
        return self.settings.port

    @property
    def flexlm(self) -> bool:
        """Whether the server speaks FlexLM."""
        return self.settings.flexlm

    @property
    def acquire_at_start(self) -> bool:
        """Whether the seat is taken when the session begins."""
        return self.settings.acquire_at_start

    @property
    def disable_pixyz(self) -> bool:
        """Whether it does without the SDK."""
        return is_on("DISABLE_PIXYZ") if self._disabled is None else self._disabled

    def is_acquire_at_start(self) -> bool:
        """Return whether the seat of a FlexLM server is held from the start of a worker on."""
        settings = self.settings
        return settings.flexlm and settings.acquire_at_start and not self.disable_pixyz

    def configure(self) -> None:
        """Name the licence server to the SDK and see whether there is a seat; without the SDK nothing is done.

        Raises:
            LicenseUnavailable: there is no seat.
        """
        sdk = self._wanted_sdk()
        if sdk is not None and self.settings.flexlm:
            _take_seat(sdk, replace(self.settings, acquire_at_start=True))

    configure_license = configure

    def acquire(self) -> Any:
        """Begin a session that lasts until `release()`, as a `with` does; return the SDK, or None without it.

        Raises:
            LicenseUnavailable: there is no seat.
        """
        sdk = self._wanted_sdk()
        if sdk is not None and sdk.get_current_session() is None:
            sdk.set_current_session(sdk.initialize())
            try:
                _take_seat(sdk, self.settings)
            except BaseException:
                _end(sdk)
                raise
            self._owner = True
        return sdk

    def release(self) -> None:
        """End the session, whoever has begun it; without one, nothing is done."""
        self._owner = False
        sdk, self.sdk = self.sdk or self._wanted_sdk(), None
        if sdk is not None and sdk.get_current_session() is not None:
            _end(sdk)

    def __enter__(self) -> Self:
        LicenseSettings.from_environment()  # reports invalid settings, also where no seat is needed
        self.sdk = self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sdk, self.sdk = self.sdk, None
        if self._owner:
            self._owner = False
            _end(sdk)

    def _wanted_sdk(self) -> Any:
        return None if self.disable_pixyz else _sdk()


def _end(sdk: Any) -> None:
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
