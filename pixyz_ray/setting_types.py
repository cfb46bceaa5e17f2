"""Types of settings: how the text of a size, a duration, a JSON object or a list of names becomes a value."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

from pixyz_ray.units import (
    DURATION_HINT,
    KILOBYTE,
    SIZE_HINT,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


def _size(value: Any, *, bare: int, unit: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_size(value, bare=bare)
    except ValueError as error:
        hint = f"write a number of {unit}, or {SIZE_HINT}"
        raise ValueError(str(error).replace(f"write {SIZE_HINT}", hint)) from None


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value)
    except ValueError as error:
        hint = f"write a number of seconds, or {DURATION_HINT}"
        raise ValueError(str(error).replace(f"write {DURATION_HINT}", hint)) from None


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of its members; of two with one name, json would keep the last without a message."""
    found = dict(pairs)
    if len(found) < len(pairs):
        double = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"{double[:100]!r} stands in it twice")
    return found


def _json_object(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=_without_doubles)
        except ValueError as error:
            raise ValueError(f"is not valid JSON: {error}") from None
        except RecursionError:
            raise ValueError("is not valid JSON: it is nested too deeply") from None
    if not isinstance(value, Mapping):
        raise ValueError('must be a JSON object, {"NAME": ...}')
    return value


def _names(value: Any) -> Any:
    return tuple(re.findall(r"[^\s,;]+", value)) if isinstance(value, str) else value


def _origins(value: Any) -> Any:
    if isinstance(value, str):
        text = value.strip()
        try:
            value = json.loads(text) if text.startswith("[") else [one for one in text.split(",") if one.strip()]
        except ValueError as error:
            raise ValueError(f"is not valid JSON: {error}") from None
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ValueError("must be origins with commas between them, or a JSON list of them")
    origins = tuple(one.strip().rstrip("/") for one in value)
    for one in origins:
        if one != "*" and not _ORIGIN.fullmatch(one):
            raise ValueError(f"has {one!r}, which is not an origin such as https://app.example.com:8443, nor *")
    return origins


def _umask(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"(0o)?[0-7]{1,4}", value.strip()):
        raise ValueError("is not a umask: write octal digits, such as 022, 002 or 077")
    return int(value.strip().removeprefix("0o"), 8)


def _leaves_owner_all(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= 0o077:
        raise ValueError("takes rights from the owner of the files, which the platform needs: use 000 to 077")
    return value


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
"""Some addresses."""


def _networks(value: Any) -> Any:
    try:
        return tuple(ipaddress.ip_network(one, strict=False) for one in _names(value))
    except ValueError as error:
        raise ValueError(f"has {error}: write addresses or networks such as 10.0.0.5 or 10.0.0.0/8") from None


def _hosts(value: Any) -> Any:
    hosts = tuple(one.lower().removesuffix(".") if one != "*." else one for one in _names(value))
    for one in hosts:
        if one != "*" and not _HOST_PATTERN.fullmatch(one):
            raise ValueError(
                f"has {one!r}: write names of hosts without scheme and port, such as pixyz.example.org, "
                "*.example.org, or * for any"
            )
    return hosts


_HOST_PATTERN = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*|[0-9a-f:.]+")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@]+")
_BYTES = BeforeValidator(partial(_size, bare=1, unit="bytes"))
_KILOBYTES = BeforeValidator(partial(_size, bare=KILOBYTE, unit="KB"))
_SECONDS = BeforeValidator(_duration)
Size = Annotated[int, _BYTES]
"""Bytes; as text, a number without a unit is bytes."""
OldSize = Annotated[int, _KILOBYTES]
"""Bytes; as text, a number without a unit is KB, which is what the scheduler before this one counted memory in."""
Seconds = Annotated[float, _SECONDS]
"""Seconds; as text, also with units."""
OptionalSeconds = Annotated[float | None, _SECONDS]
"""The same, or None."""
Umask = Annotated[int | None, BeforeValidator(_umask), AfterValidator(_leaves_owner_all)]
"""Rights that new files do not give, as octal digits; None where nothing was said."""
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
"""Origins of web pages, such as https://app.example.com; as text, between commas, or a JSON list."""
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
"""Names; as text, between commas or spaces."""
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]
"""Addresses and networks; as text, between commas or spaces."""
HostPatterns = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_hosts)]
"""Names of hosts, `*.example.org` for those below a domain, `*` for any; as text, between commas or spaces."""
JSON_OBJECT = (NoDecode, BeforeValidator(_json_object))
"""Metadata of a setting whose text is a JSON object: `Annotated[Mapping[str, int], *JSON_OBJECT]`."""


def in_words(value: Any, field: FieldInfo) -> str | None:
    """Return the value of a size or a duration with its unit; None for any other setting, and for no value."""
    if value is None:
        return None
    if _BYTES in field.metadata or _KILOBYTES in field.metadata:
        return format_size(value)
    return format_duration(value) if _SECONDS in field.metadata else None
