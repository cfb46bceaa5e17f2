"""Messages about settings that cannot be used; each names variable, value and place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pixyz_ray.setting_sources import Given
from pixyz_ray.units import format_number

SECRET_NAMES = frozenset({"GOD_PASSWORD_SHA256", "PIXYZ_TOKENS", "JOB_STORE_URL"})
"""Settings whose values are never shown: they hold a token's digest, or may hold a password."""
_LONGEST = 100
_CREDENTIALS = re.compile(r"(?<=://).*@", re.DOTALL)


class Conflict(ValueError):
    """A setting that conflicts with another one.

    Args:
        message: text that follows the setting's name; `{other}` in it is replaced by the other setting.
        other: name of the other setting.
    """

    def __init__(self, message: str, *, other: str) -> None:
        super().__init__(message)
        self.other = other


def problems_of(error: ValidationError, given: Mapping[str, Given]) -> list[str]:
    """Return one message for each error of a validation."""
    return [_message(problem, given) for problem in error.errors(include_url=False)]


def shown(name: str, text: str) -> str | None:
    """Return a setting's value as it may be shown to people; None for a secret that has no part to be shown."""
    if name == "JOB_STORE_URL":
        return _shown_url(text)
    if name in SECRET_NAMES:
        return None
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return short if short.isprintable() else repr(short)


def _shown_url(url: str) -> str | None:
    """Return a database's URL without what may be a password; None where it is not a URL."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return None
    if scheme.startswith("sqlite"):
        return url
    # Without an @, the URL may end within the password, for example at a #.
    return _CREDENTIALS.sub("***@", url).partition("?")[0] if "@" in rest else f"{scheme}://***"


def described(name: str, given: Given | None) -> str:
    """Return name, value and place of a setting, to begin a message with; without the value of a secret."""
    if given is None:
        return name
    value = None if name in SECRET_NAMES else shown(name, given.text)
    return f"{given.name} ({given.place})" if value is None else f"{given.name}={value} ({given.place})"


def _message(problem: ErrorDetails, given: Mapping[str, Given]) -> str:
    name, *inside = (str(part) for part in problem["loc"])
    subject = described(name.upper(), given.get(name.upper()))
    complaint = _complaint(problem)
    reason = problem.get("ctx", {}).get("error")
    if isinstance(reason, Conflict):
        complaint = complaint.format(other=described(reason.other, given.get(reason.other)))
    message = f"{subject} {complaint}" if not inside else f"{subject}: {'.'.join(inside)} {complaint}"
    return message if message.endswith("?") else f"{message}."


def _complaint(problem: ErrorDetails) -> str:
    """Return what is wrong, to follow the setting's name."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"]).rstrip(".")
    if kind in _COMPLAINTS:
        return _COMPLAINTS[kind].format(**{name: _plain(value) for name, value in context.items()})
    message = problem["msg"]
    return f"cannot be used: {message[:1].lower()}{message[1:]}".rstrip(".")


def _plain(value: Any) -> str:
    return format_number(value) if isinstance(value, float) else str(value)


_WHOLE, _NUMBER, _BOOLEAN = "is not a whole number", "is not a number", "must be true or false"
_COMPLAINTS: Mapping[str, str] = {
    "int_parsing": _WHOLE,
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "is too large for a number",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": "is not a finite number",
    "bool_parsing": _BOOLEAN,
    "bool_type": _BOOLEAN,
    "greater_than_equal": "is too small: it must be at least {ge}",
    "greater_than": "is too small: it must be more than {gt}",
    "less_than_equal": "is too large: it must be at most {le}",
    "less_than": "is too large: it must be less than {lt}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must be 64 hexadecimal digits",
    "string_type": "must be a text",
    "mapping_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "missing": "is missing",
    "extra_forbidden": "is not known",
}
