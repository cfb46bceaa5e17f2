"""Placeholders for names that old scripts import; to use one raises an error that says what to use instead."""

from __future__ import annotations

from typing import Any, NoReturn

from pixyz_worker.exception import NotAvailable


class Unavailable:
    """Placeholder for a function, class or task that does not work here.

    >>> Unavailable("package", "use `pixyz download`")()
    Traceback (most recent call last):
        ...
    pixyz_worker.exception.NotAvailable: package is not available here: use `pixyz download`
    """

    def __init__(self, name: str, instead: str) -> None:
        self.__name__ = name
        self.__doc__ = f"Not available here: {instead}"
        self._message = f"{name} is not available here: {instead}"

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, with what to use instead.

        Raises:
            NotAvailable: always.
        """
        raise NotAvailable(self._message)

    def __getattr__(self, name: str) -> NoReturn:
        # Pickle and inspect probe for special attributes; that does not count as a use.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        raise NotAvailable(self._message)

    def __repr__(self) -> str:
        return f"<{self._message}>"
