"""The HTTP server of one replica: uvicorn in a thread with an event loop of its own.

Serve places the replica, watches it and replaces it; requests do not pass through Serve. Its proxy would add 4-5 ms to
each request and hold uploads in memory, and its servers have no limits for connections. Nothing here depends on
variables that Serve's controller reads when it starts, so that the service is the same however it is deployed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from pixyz_worker.exception import InternalError
from serve_app.connections import Limits
from serve_app.guarded_protocol import apply_limits
from serve_app.handover import ask_for_port, wait_for_successor

_log = logging.getLogger(__name__)
_BACKLOG = 2048
_KEEP_ALIVE_S = 90
_ANSWER_S = 5.0
_BIND_AGAIN_S = 0.05


class HttpServer:
    """Serves an ASGI application on one address.

    Args:
        make_app: makes the application; called in the server's thread.
        limits: limits for the connections.
        host: address to listen on.
        port: port to listen on.
        grace_s: seconds for which requests in progress may go on when the server stops.
        port_within_s: seconds to wait for a port that the server before this one has not released yet.
    """

    def __init__(
        self,
        make_app: Callable[[], ASGIApp],
        limits: Limits,
        *,
        host: str,
        port: int,
        grace_s: float,
        port_within_s: float = 30.0,
    ) -> None:
        self._make_app = make_app
        self._limits = limits
        self._address = host, port
        self._grace_s = grace_s
        self._port_within_s = port_within_s
        self._loop = _new_loop()
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._started: Future[None] = Future()

    def start(self) -> None:
        """Start serving; return when the port is open.

        Raises:
            InternalError: the port cannot be opened.
        """
        self._thread.start()
        self._started.result()

    def stop(self, *, successor_within_s: float = 0.0) -> None:
        """Close the port, let requests in progress end within the grace period, and end the thread.

        Args:
            successor_within_s: seconds for which the port stays open until a successor asks for it.
        """
        if successor_within_s and self._thread.is_alive():
            wait_for_successor(self._address[1], successor_within_s, self._release_port)
        if self._server is not None:
            self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(self._grace_s + _ANSWER_S)

    def _release_port(self) -> None:
        closed = asyncio.run_coroutine_threadsafe(self._closed(), self._loop)
        with suppress(TimeoutError):
            closed.result(_ANSWER_S)

    async def _closed(self) -> None:
        self.close_port()

    @property
    def listens(self) -> bool:
        """Whether the port is open."""
        return self._server is not None and bool(self._server.servers)

    def check(self) -> None:
        """Return when the server's event loop answers.

        Raises:
            InternalError: its thread has ended, or its event loop does not answer.
        """
        if not self._thread.is_alive():
            raise InternalError("The HTTP server has ended.")
        try:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result(_ANSWER_S)
        except TimeoutError:
            raise InternalError(f"The HTTP server has not answered for {_ANSWER_S:g} s.") from None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the server's event loop until the server ends."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    # --- In the server's event loop ----------------------------------------------------------------------------------

    async def open_port(self) -> None:
        """Listen again after `close_port`; call it in the server's event loop.

        Raises:
            InternalError: the port cannot be opened.
        """
        if self._server is not None and not self.listens and not self._server.should_exit:
            await self._server.startup([await self._bind()])

    def close_port(self) -> None:
        """Refuse new connections, and end those that exist after their requests; call it in the server's event loop.

        A load balancer tries another replica at once, whatever the request is, since it cannot have been sent.
        """
        if self._server is not None:
            _close_listeners(self._server)
            for connection in list(self._server.server_state.connections):
                connection.shutdown()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if self._started.done():
                _log.exception("the HTTP server has failed")
            else:
                self._started.set_exception(error)

    async def _serve(self) -> None:
        config = uvicorn.Config(
            self._make_app(),
            loop="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level=logging.CRITICAL,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(self._grace_s)),
            backlog=_BACKLOG,
        )
        apply_limits(config, self._limits)
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup([await self._bind()])
        self._server = server
        self._started.set_result(None)
        try:
            await server.main_loop()
        finally:
            # Requests in progress end within the grace period; event streams are cancelled after it.
            _close_listeners(server)
            with suppress(asyncio.CancelledError):
                await server.shutdown()

    async def _bind(self) -> socket.socket:
        host, port = self._address
        deadline = time.monotonic() + self._port_within_s
        while True:
            one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            # A port whose last connections have not quite ended is free; one on which somebody listens is not.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((host, port))
                one.listen(_BACKLOG)
            except OSError as error:
                one.close()
                if time.monotonic() > deadline:
                    raise InternalError(
                        f"Port {port} on {host} of {socket.gethostname()} cannot be used: {error.strerror or error}. "
                        "Stop what uses it, or set API_PORT to another port."
                    ) from error
                if await asyncio.to_thread(ask_for_port, port):
                    continue
                await asyncio.sleep(_BIND_AGAIN_S)
            else:
                return one


def _close_listeners(server: uvicorn.Server) -> None:
    for listener in server.servers:
        listener.close()
    server.servers = []


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: Any = uvloop.new_event_loop()
    return loop  # type: ignore[no-any-return]
