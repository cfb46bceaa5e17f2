"""The files in scripts/ that deploy the platform with Serve: their arguments are settings, and their form is right."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serve_app.arguments import AppArguments

ROOT = Path(__file__).resolve().parents[3]
SERVE = ROOT / "scripts" / "serve" / "config.yaml"
RAY_SERVICE = ROOT / "scripts" / "kuberay" / "rayservice.yaml"
SCHEMAS = ROOT.parent / "shared" / "kuberay" / "ray.io_rayservices.yaml.gz"


def read(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def serve_config(path: Path) -> Any:
    """Return the Serve configuration in a file."""
    found = read(path)
    return yaml.safe_load(found["spec"]["serveConfigV2"]) if found.get("kind") == "RayService" else found


@pytest.mark.parametrize("path", [SERVE, RAY_SERVICE], ids=lambda path: path.name)
def test_arguments(path: Path) -> None:
    """Given a file, when its placeholders are filled in, then its arguments are settings that can be used."""
    (application,) = serve_config(path)["applications"]
    assert (application["name"], application["import_path"]) == ("pixyz", "serve_app:app")
    arguments = {**application["args"], "god_password_sha256": "0" * 64}
    assert AppArguments.model_validate(arguments).settings().api_port == 8001


def test_ray_service() -> None:
    """Given KubeRay's own definition of a RayService, then ours is valid, and has no field that it does not know."""
    if not SCHEMAS.is_file():
        pytest.skip(f"the definitions of KubeRay are not at {SCHEMAS}")
    definition = yaml.safe_load(gzip.decompress(SCHEMAS.read_bytes()))
    versions = {one["name"]: one["schema"]["openAPIV3Schema"] for one in definition["spec"]["versions"]}
    service = read(RAY_SERVICE)
    jsonschema.validate(service, closed(versions[service["apiVersion"].partition("/")[2]]))


def closed(schema: Any) -> Any:
    """Return a schema that refuses unknown fields, as Kubernetes does with `--validate=strict`."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: value for name, value in schema.items() if name not in ("format",)}
    if schema.get("x-kubernetes-int-or-string"):
        plain = {"type": ["integer", "string"]}
    result = {name: closed(value) if name != "properties" else value for name, value in plain.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        result["properties"] = {name: closed(value) for name, value in schema["properties"].items()}
        # `metadata` of an embedded object is not described.
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    return result
