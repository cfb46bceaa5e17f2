"""JSON in form fields: parsed with a message for each way in which it can be wrong."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from typing import Any

from pixyz_worker.exception import InvalidBackendParameter

_MAX_DEPTH = 200


def json_value(text: str, field_name: str, default: Any = None) -> Any:
    """Return the JSON value that a form field holds; `default` for an empty field and for null.

    Args:
        text: content of the field.
        field_name: its name, for messages.
        default: value of a field that is not given.

    Raises:
        InvalidBackendParameter: it is not JSON, or nested too deeply; the message says where.
    """
    if not text.strip():
        return default
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise InvalidBackendParameter(f"'{field_name}' is nested too deeply.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidBackendParameter(f"'{field_name}' is not JSON: {error.msg} at {place}.") from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise InvalidBackendParameter(
                f"'{field_name}' has an integer of more than {sys.get_int_max_str_digits()} digits: send it as text."
            ) from None
        raise InvalidBackendParameter(f"'{field_name}' is not JSON: {error}.") from None
    if value is None:
        return default
    if _depth_exceeds(value, _MAX_DEPTH):
        raise InvalidBackendParameter(f"'{field_name}' is nested too deeply: at most {_MAX_DEPTH} levels are accepted.")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def json_object(text: str, field_name: str, default: Any = None) -> Any:
    """Return the JSON object that a form field holds; `default` for an empty field and for null.

    Raises:
        InvalidBackendParameter: it is not JSON, nested too deeply, or not an object.
    """
    value = json_value(text, field_name, default)
    if value is not default and not isinstance(value, dict):
        raise InvalidBackendParameter(f"'{field_name}' must be a JSON object, not {type(value).__name__}.")
    return value


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [item for one in level if isinstance(one, dict | list) for item in _items(one)]
        if not level:
            return False
    return True


def _items(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which JSON does not have")
