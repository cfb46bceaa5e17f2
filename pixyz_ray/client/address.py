"""Where the platform is and which token opens it.

The first that is given counts: argument, environment, configuration file, the platform of this machine.
The configuration file is `~/.config/pixyz/client.toml` (below `$XDG_CONFIG_HOME` where that is set); where that is
missing, `%APPDATA%/pixyz/client.toml` on Windows and `~/Library/Application Support/pixyz/client.toml` on macOS:

    url = "https://pixyz.example.org"
    token = "..."
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pixyz_ray import home
from pixyz_ray.client.errors import InvalidClientConfig

_CONFIG = Path("pixyz", "client.toml")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A platform to talk to."""

    url: str
    """Base URL, without a slash at its end."""
    token: str | None
    """Token for the `x-api-key` header; None where none is known."""
    source: str
    """Where the URL came from, in words."""

    @property
    def is_loopback(self) -> bool:
        """Whether the platform is on this machine."""
        return urlsplit(self.url).hostname in _LOOPBACK


def find_address(url: str | None = None, token: str | None = None) -> Address:
    """Return the platform to talk to.

    A token that was stored beside one URL is never sent to another.

    Raises:
        InvalidClientConfig: the configuration file does not parse, or the URL is none.
    """
    file = config_path()
    config = _read_config(file)
    platform = home.read_platform()
    candidates = (
        (url, "argument"),
        (os.environ.get("PIXYZ_URL"), "PIXYZ_URL"),
        (config.get("url"), str(file)),
        (platform.url if platform else None, str(home.home() / "platform.json")),
        (home.DEFAULT_URL, "default"),
    )
    found, source = next((value, source) for value, source in candidates if value)
    here = _origin(found)
    tokens = [token, os.environ.get("PIXYZ_TOKEN")]
    if not config.get("url") or _origin(config["url"]) == here:
        tokens.append(config.get("token"))
    if platform and _origin(platform.url) == here:
        tokens.append(platform.token)
    return Address(url=found.rstrip("/"), token=next(filter(None, tokens), None), source=source)


def config_path() -> Path:
    """Return the path of the configuration file: the first that exists, else where to make one."""
    paths = list(_config_paths())
    return next((path for path in paths if path.exists()), paths[-1])


def _config_paths() -> Iterator[Path]:
    """Yield the places of the configuration file; the usual one of this system is the last."""
    base = os.environ.get("XDG_CONFIG_HOME")
    yield (Path(base) if base else Path.home() / ".config") / _CONFIG
    if sys.platform == "win32" and (roaming := os.environ.get("APPDATA")):
        yield Path(roaming) / _CONFIG
    if sys.platform == "darwin" and not base:
        yield Path.home() / "Library" / "Application Support" / _CONFIG


def _read_config(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    import tomllib

    try:
        config = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidClientConfig(f"{path} is not valid TOML: {error}") from None
    for key in ("url", "token"):
        if not isinstance(config.get(key, ""), str):
            raise InvalidClientConfig(f"{path}: `{key}` must be a string.")
    return config


def _origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port; the names of the loopback device count as one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InvalidClientConfig(f"{url!r} is not the URL of a platform. It looks like {home.DEFAULT_URL}.")
    host = "127.0.0.1" if parts.hostname in _LOOPBACK else parts.hostname
    return parts.scheme, host, port or _PORTS[parts.scheme]
