"""Machines and clusters for each file of tests.

A file names the machines that it needs in `MACHINES`, and settings of the platform in `SETTINGS`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.clusters import Cluster
from tests.cluster.machines import Network, need_machines
from tests.postgres import Postgres, need_postgres
from tests.rest_client import RestClient


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """The machines in the module's MACHINES; `a`, `b` and `c` where it has none."""
    need_machines()
    with Network(getattr(request.module, "MACHINES", ("a", "b", "c"))) as network:
        yield network


@pytest.fixture(scope="module")
def postgres(network: Network) -> Iterator[Postgres]:
    """PostgreSQL on a machine of its own, `db`; its `url` is good on all machines."""
    need_postgres()
    machine = network.machines.get("db") or network.add("db")
    server = Postgres(machine)
    try:
        server.start(5432)
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, network: Network) -> Iterator[Cluster]:
    """The platform on all machines of the module, the first of which is the head.

    It uses PostgreSQL where the module says `POSTGRES = True`.
    """
    settings = dict(getattr(request.module, "SETTINGS", {}))
    if getattr(request.module, "POSTGRES", False):
        settings["JOB_STORE_URL"] = request.getfixturevalue("postgres").url
    head, *workers = getattr(request.module, "MACHINES", ("a", "b", "c"))
    cluster = Cluster(network, head, settings)
    cluster.start(*workers)
    yield cluster


@pytest.fixture
def rest(cluster: Cluster) -> Iterator[RestClient]:
    """A client with the operator's token."""
    with cluster.client() as client:
        yield client
