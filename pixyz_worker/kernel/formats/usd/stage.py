"""Opening a USD file of a stranger: only files of its own folder are followed, and its composition has an end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pxr import Ar, Pcp, Sdf, Tf, Usd, UsdUtils

from pixyz_worker.kernel.formats.usd.growth import check_growth

MAX_LAYERS = 10_000
"""Files that one scene may be made of."""
_LAYERS = (".usd", ".usda", ".usdc", ".usdz")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")


def open_stage(path: Path) -> Any:
    """The composed Usd.Stage of a file; ValueError says why there is none.

    Everything that the file refers to is looked at before USD composes it: what lies outside the file's folder, or
    behind a URL, is refused, as are references that lead back to themselves or multiply without end.
    """
    folder = path.resolve().parent
    layers = _layers(path.resolve(), folder)
    check_growth(layers)
    try:
        stage = Usd.Stage.Open(layers[0])
    except Tf.ErrorException as error:
        raise ValueError(_words(error)) from error
    for problem in stage.GetCompositionErrors():
        if isinstance(problem, Pcp.ErrorInvalidAssetPath):
            name = str(problem).partition("@")[2].partition("@")[0]
            raise ValueError(f"it refers to {Path(name).name[:100]}, which is not there or cannot be read")
        if isinstance(problem, Pcp.ErrorArcCycle | Pcp.ErrorSublayerCycle | Pcp.ErrorCapacityExceeded):
            raise ValueError("its references lead back to themselves, or are too many")
    for layer in stage.GetUsedLayers(includeClipLayers=True):
        if layer.realPath and not inside(layer.realPath, folder):
            raise ValueError(f"it refers to {Path(layer.realPath).name}, which is not in its own folder")
    return stage


def inside(resolved: str, folder: Path) -> bool:
    """Whether a resolved path, maybe one inside of a package, lies in a folder or below it."""
    outer = Ar.SplitPackageRelativePathOuter(resolved)[0] if Ar.IsPackageRelativePath(resolved) else resolved
    return Path(outer).resolve().is_relative_to(folder)


def _layers(path: Path, folder: Path) -> list[Any]:
    """The file's own layer, then all that it refers to, directly or not, as far as they are there."""
    layers = [_layer(str(path))]
    seen = {str(path)}
    for layer in layers:  # grows while it runs
        for asset in _asked(layer):
            where = _resolved(layer, asset, folder)
            if where and where not in seen:
                seen.add(where)
                layers.append(_layer(where))
                if len(layers) > MAX_LAYERS:
                    raise ValueError(f"it is made of more than {MAX_LAYERS} files")
    return layers


def _layer(identifier: str) -> Any:
    try:
        layer = Sdf.Layer.FindOrOpen(identifier)
    except Tf.ErrorException as error:
        raise ValueError(_words(error)) from error
    if layer is None:
        raise ValueError("it is not USD, or damaged")
    return layer


def _asked(layer: Any) -> Iterator[str]:
    """The files with prims that a layer refers to: sublayers, references, payloads and value clips."""
    yield from (asset for asset in layer.GetCompositionAssetDependencies() if asset)
    try:
        lists = UsdUtils.ExtractExternalReferences(layer.identifier)
    except Tf.ErrorException:
        return
    for asset in (asset for found in lists for asset in found):
        if Path(asset.rstrip("]")).suffix.lower() in _LAYERS:
            yield asset


def _resolved(layer: Any, asset: str, folder: Path) -> str:
    """Where a file that a layer names is; '' when it is not there; ValueError when it must not be followed."""
    if "`" in asset:
        raise ValueError("it computes the names of files that it refers to, which is not followed here")
    name = asset.partition(":SDF_FORMAT_ARGS:")[0]
    if _SCHEME.match(name):
        raise ValueError(f"it refers to {name[:100]}, and addresses are not followed")
    whole = Sdf.ComputeAssetPathRelativeToLayer(layer, name)
    resolved = str(Ar.GetResolver().Resolve(whole))
    where = resolved or (whole if Ar.IsPackageRelativePath(whole) else str(Path(layer.realPath).parent / name))
    if not inside(where, folder):
        raise ValueError(f"it refers to {name[:100]}, which is not in its own folder")
    return resolved


def _words(error: Exception) -> str:
    """What USD says, without the places and names of its own source."""
    try:
        said = str(error)
    except UnicodeDecodeError:  # it quotes the file
        return "it is damaged, or not USD"
    found = re.findall(r" : '(.*?)'\s*$", said, flags=re.MULTILINE | re.DOTALL)
    # Of what its parser expected it says the names of C++ templates.
    text = re.sub(r"\s*(?:matching )?pxrInternal.*", "", found[0] if found else said.strip(), flags=re.DOTALL)
    return f"it is damaged, or not USD ({_short(text)})"


def _short(text: str) -> str:
    """A message of USD in one line, with names of files instead of whole paths."""
    return re.sub(r"(?:/[^/\s@'`<>]+)*/(?=[^/\s@'`<>]+\.usd)", "", " ".join(text.split()))[:200].rstrip(" .")
