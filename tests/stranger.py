"""What another user of this machine, who has no token, does to ports: asks each for something, and prints the answers.

Run as a program with ports as arguments. It prints JSON: port -> [gRPC method, status code] and [HTTP path, status,
beginning of the answer].
"""

from __future__ import annotations

import http.client
import json
import sys

import grpc

METHODS = (
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.serve.ASGIService/HandleRequest",
)
PATHS = ("/", "/api/jobs/", "/jobs")


def _call(port: int, method: str) -> str:
    """Return the status code of a gRPC call with an empty message."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        try:
            call(b"", timeout=3)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"


def _get(port: int, path: str) -> tuple[int, str]:
    """Return status and beginning of an HTTP answer; (0, "") when none came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(40).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def main() -> None:
    """Ask all ports."""
    answers = {
        port: {
            "grpc": {method: _call(int(port), method) for method in METHODS},
            "http": {path: _get(int(port), path) for path in PATHS},
        }
        for port in sys.argv[1:]
    }
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
