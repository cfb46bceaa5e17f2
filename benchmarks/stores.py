"""`python -m benchmarks.stores`: jobs per second with PostgreSQL, next to SQLite and with a slow network."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import socket
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from benchmarks.figures.latency import run_ours
from benchmarks.figures.throughput import CLIENTS, rate
from benchmarks.load import HOST
from benchmarks.platform import Ours, free_ports
from benchmarks.sides import in_turn
from tests.postgres import Postgres
from tests.waiting import wait_until


@click.command()
@click.option("--blocks", default=5, show_default=True, help="Blocks of each store, taken in turn.")
@click.option("--seconds", default=4.0, show_default=True, help="Length of a block.")
@click.option("--delay-ms", default=0.0, show_default=True, help="Delay of the network to PostgreSQL, there and back.")
def main(blocks: int, seconds: float, delay_ms: float) -> None:
    """Measure the throughput of a platform on SQLite and of one on PostgreSQL, in turn.

    The server runs on this machine with PostgreSQL's defaults, fsync among them.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="pixyz-stores-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = Postgres(fsync=True)
        stack.callback(server.close)
        server.start(free_ports())
        url = server.url
        if delay_ms:
            port = stack.enter_context(_delayed(server.port, delay_ms / 2000))
            url = url.replace(f":{server.port}/", f":{port}/")
        sides = {
            name: _platform(stack, folder / name, store) for name, store in (("sqlite", None), ("postgresql", url))
        }
        for side in sides.values():
            rate(side.connect, run_ours, 2.0)
        values = in_turn(blocks, *(lambda side=side: rate(side.connect, run_ours, seconds) for side in sides.values()))
    medians = [statistics.median(block) for block in values]
    for name, median, block in zip(sides, medians, values, strict=True):
        click.echo(
            f"{name:12} {median:5.0f} jobs/s with {CLIENTS} clients ({', '.join(f'{one:.0f}' for one in block)})"
        )
    click.echo(f"ratio        {medians[1] / medians[0]:5.2f}")


def _platform(stack: ExitStack, folder: Path, store_url: str | None) -> Ours:
    folder.mkdir()
    platform = Ours(folder, store_url)
    stack.callback(platform.stop)
    platform.start()
    return platform


# --- A slow network --------------------------------------------------------------------------------------------------


@contextmanager
def _delayed(target: int, delay_s: float) -> Iterator[int]:
    """Yield the port of a process that forwards connections, each byte after a delay in either direction."""
    port = free_ports()
    process = multiprocessing.get_context("spawn").Process(target=_forward, args=(port, target, delay_s), daemon=True)
    process.start()
    try:
        wait_until(lambda: _answers(port), "the delayed port answers")
        yield port
    finally:
        process.terminate()
        process.join()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _forward(port: int, target: int, delay_s: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, target)
        await asyncio.gather(_pass_on(reader, far_writer, delay_s), _pass_on(far_reader, writer, delay_s))

    async def serve() -> None:
        async with await asyncio.start_server(connected, HOST, port) as server:
            await server.serve_forever()

    asyncio.run(serve())


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await reader.read(1 << 16):
            loop.call_later(delay_s, writer.write, data)
    except ConnectionError:
        pass
    loop.call_later(delay_s, writer.close)


if __name__ == "__main__":
    main()
