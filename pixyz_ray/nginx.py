"""The configuration of nginx as the one address of all machines that run the HTTP service."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from pixyz_worker.exception import InvalidBackendParameter

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_TEMPLATE = """\
# Made by `pixyz nginx`: one address for the HTTP service of Pixyz on Ray. Check it with  nginx -t -c FILE
#
# The platform must trust this machine: add its address to TRUSTED_PROXIES of the platform, as in
#   TRUSTED_PROXIES=10.0.0.5
# Without that, all clients together count as one address, and limits for one address apply to all of them. Names by
# which callers without a token reach this address belong into ALLOWED_HOSTS.
#
# For TLS write  listen 443 ssl;  with ssl_certificate and ssl_certificate_key in place of the line with `listen`.

worker_processes auto;
worker_rlimit_nofile 65536;

events {
    worker_connections 16384;
}

http {
    server_tokens off;

    # Machines of the cluster. One without a replica refuses connections at once; the next one is tried then, and the
    # first is left alone for a while. List machines that may get a replica later too.
    upstream pixyz {
__SERVERS__
        # A connection for each request: over one that is kept open and has just been closed by its replica, a request
        # that must not be sent twice would be lost.
    }

    server {
        listen __LISTEN__;

        # The platform has limits for uploads and forms of its own (MAX_UPLOAD_BYTES), and time limits for slow clients.
        client_max_body_size 0;
        client_header_timeout 15s;
        client_body_timeout 60s;
        send_timeout 60s;
        large_client_header_buffers 4 32k;

        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;

        # Uploads, downloads and event streams pass as they come, without files here.
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_cache off;
        gzip off;

        proxy_connect_timeout 2s;
        proxy_send_timeout 60s;
        # Longer than a replica works on an answer, and than event streams are silent.
        proxy_read_timeout 45s;
        proxy_socket_keepalive on;

        # Another machine is tried when one cannot be reached, whatever the request is. When the connection breaks or
        # the answer is 502 to 504, only requests are sent again that may be (GET, HEAD, PUT, DELETE). A POST is not:
        # the job could run twice. Clients send it again with its Idempotency-Key.
        proxy_next_upstream error timeout http_502 http_503 http_504;
        proxy_next_upstream_tries __TRIES__;
        proxy_next_upstream_timeout 20s;

        location / {
            proxy_pass http://pixyz;
        }

        # Removing the files of a large job takes up to two minutes.
        location ~ ^/jobs/[^/]+/remove$ {
            proxy_read_timeout 150s;
            proxy_pass http://pixyz;
        }
    }
}
"""


def nginx_configuration(servers: Sequence[str], listen: str) -> str:
    """Return a complete configuration.

    Args:
        servers: `HOST:PORT` of each machine.
        listen: `HOST:PORT`, or a port, that nginx listens on.

    Raises:
        InvalidBackendParameter: there is no server, or an address is not one.
    """
    if not servers:
        raise InvalidBackendParameter("There is no machine: name them with  --servers HOST:PORT,HOST:PORT")
    lines = [f"        server {_checked(one)} max_fails=1 fail_timeout=5s;" for one in dict.fromkeys(servers)]
    return (
        _TEMPLATE.replace("__SERVERS__", "\n".join(lines))
        .replace("__LISTEN__", listen if listen.isdigit() and _is_port(listen) else _checked(listen))
        .replace("__TRIES__", str(max(2, min(len(lines), 5))))
    )


def join_address(host: str, port: int) -> str:
    """Return `HOST:PORT`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _checked(address: str) -> str:
    """Return an address that may stand in the configuration."""
    host, colon, port = address.rpartition(":")
    if colon and _is_port(port) and _is_host(host):
        return address
    raise InvalidBackendParameter(f"{address!r} is not an address: write HOST:PORT, such as 10.0.0.5:8001.")


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= 65535


def _is_host(text: str) -> bool:
    if text.startswith("[") and text.endswith("]"):
        try:
            return ipaddress.ip_address(text[1:-1]).version == 6
        except ValueError:
            return False
    return _HOST.fullmatch(text) is not None
