"""The connection of a client: where the platform is, and how a request is sent and its answer checked."""

from __future__ import annotations

import ssl
from typing import Any, Self

import httpx

from pixyz_ray.client.address import find_address
from pixyz_ray.client.errors import InvalidClientConfig, check_answer, unreachable
from pixyz_ray.client.patience import Patience

_ASK_AGAIN_S = 20.0
"""Seconds for which a question is sent again, while a server is replaced."""
_FROM_A_PROXY = frozenset({502, 504})


class Connection:
    """Requests to one platform.

    Args:
        url: base URL; without one: PIXYZ_URL, the configuration file, this machine's platform, http://127.0.0.1:8001.
        token: token; without one: PIXYZ_TOKEN, or what is stored beside the URL.
        timeout: seconds that one answer may take.
        patience: seconds that a broken connection may take to come back while following or fetching.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 60.0,
    ) -> None:
        self.address = find_address(url, token)
        self._patience_s = patience
        headers = {"x-api-key": self.address.token} if self.address.token else {}
        # Loading the certificates takes longer than a whole request; plain HTTP never looks at them.
        encrypted = self.address.url.startswith("https:")
        verify = ssl.create_default_context() if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            self._http = httpx.Client(
                base_url=self.address.url,
                headers=headers,
                timeout=timeout,
                verify=verify,
                trust_env=not self.address.is_loopback,  # a proxy cannot reach this machine's loopback device
            )
        except httpx.InvalidURL as error:
            raise InvalidClientConfig(f"{self.address.url!r} is not a URL: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _json(self, path: str, **options: Any) -> Any:
        return self._request("GET", path, **options).json()

    def _request(
        self, method: str, path: str, *, accept: frozenset[int] | set[int] = frozenset(), **options: Any
    ) -> httpx.Response:
        response = self._answer(method, path, **options)
        if response.status_code not in accept:
            check_answer(response)
        return response

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer to a request; a GET is sent again when its connection breaks, or a proxy has no server."""
        patience = Patience(min(self._patience_s, _ASK_AGAIN_S))
        while True:
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                is_lost = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if method != "GET" or not is_lost or not patience.pause():
                    raise unreachable(self.address.url, error) from error
            else:
                if method != "GET" or response.status_code not in _FROM_A_PROXY or not patience.pause():
                    return response
