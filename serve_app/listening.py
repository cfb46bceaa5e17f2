"""The address that a replica listens on."""

from __future__ import annotations

import ipaddress


def listening_host(api_host: str, own_address: str) -> str:
    """Return the address that a replica listens on, on a machine that is not the head.

    Args:
        api_host: API_HOST: all addresses, loopback, or an address that only the head has.
        own_address: address of this machine in the cluster.
    """
    try:
        address = ipaddress.ip_address(api_host)
    except ValueError:
        return api_host if api_host == "localhost" else own_address
    return api_host if address.is_unspecified or address.is_loopback else own_address
