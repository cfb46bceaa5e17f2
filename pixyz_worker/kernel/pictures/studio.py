"""The light that pictures are taken in, once for arrays and once as a shader, so that both renderers agree.

Lights stand around the camera and go where it goes. Directions are those of the camera's own frame: x to the right,
y up, z towards the one who looks. The sum of all light on a surface that faces the camera is about 1: a plain surface
looks like the colour that its material names.

Surfaces: Lambert's diffuse light, and the GGX distribution with Smith's visibility and Schlick's Fresnel term (glTF
2.0, appendix B). What surfaces mirror is a gradient with two soft boxes, seen through the fit of the environment's
part of the reflection by Karis, "Physically Based Shading on Mobile" (2014).
"""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.float32]

LIGHTS: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = (
    ((-0.454, 0.655, 0.605), (0.700, 0.690, 0.675)),
    ((0.700, 0.100, 0.707), (0.225, 0.235, 0.245)),
    ((0.303, 0.505, -0.808), (0.300, 0.305, 0.310)),
)
"""Key, fill and rim light: unit direction towards the light, and its linear colour."""
SKY, GROUND = (0.46, 0.465, 0.475), (0.20, 0.195, 0.19)
"""Ambient light on a surface that faces up and on one that faces down."""
MIRROR_SKY, MIRROR_HORIZON, MIRROR_GROUND = 1.05, 0.68, 0.3
"""What a mirror shows above, at the height of the eye, and below."""
BOXES = (1.6, 0.7)
"""How bright a mirror shows the soft boxes of key and fill light."""
SHOULDER = 0.8
"""Brightness up to which light is shown as it is; more of it is pressed below 1."""
_LEVELS = 4096


def shade(
    *,
    albedo: Floats,
    metalness: Floats,
    roughness: Floats,
    normals: Floats,
    views: Floats,
    shadow: Floats | None = None,
    emission: Floats | None = None,
) -> Floats:
    """Light that leaves surfaces towards the camera, linear, (n, 3).

    albedo (n, 3) is linear; metalness and roughness are (n,); normals and views (towards the camera) are unit vectors
    of the camera's frame, (n, 3); shadow (n,) is the share of ambient light that arrives; emission (n, 3) is linear.
    """
    facing = numpy.maximum(_dot(normals, views), numpy.float32(0.02))
    rough = numpy.clip(roughness, 0.06, 1.0).astype(numpy.float32)
    mirror = numpy.float32(0.04) + (albedo - numpy.float32(0.04)) * metalness[:, None]
    body = albedo * (1 - metalness)[:, None]
    height = normals[:, 1:2] * numpy.float32(0.5) + numpy.float32(0.5)
    ambient = numpy.array(GROUND, numpy.float32) + height * numpy.array(numpy.subtract(SKY, GROUND), numpy.float32)
    soft = body * ambient
    soft += _environment(normals, views, facing, rough)[:, None] * _mirrored(mirror, facing, rough)
    if shadow is not None:
        soft *= shadow[:, None]
    for place, colour in LIGHTS:
        towards = numpy.array(place, numpy.float32)
        reach = normals @ towards
        lit = numpy.flatnonzero(reach > 0)
        part = _lit(body[lit], mirror[lit], rough[lit], normals[lit], views[lit], facing[lit], reach[lit], towards)
        part *= numpy.array(colour, numpy.float32)
        if shadow is not None:
            # A crevice that little ambient light enters gets less of the lamps too.
            part *= (numpy.float32(0.45) + numpy.float32(0.55) * shadow[lit])[:, None]
        soft[lit] += part
    if emission is not None:
        soft += emission
    return soft


def _lit(
    body: Floats,
    mirror: Floats,
    rough: Floats,
    normals: Floats,
    views: Floats,
    facing: Floats,
    reach: Floats,
    towards: Floats,
) -> Floats:
    half = views + towards
    half /= numpy.sqrt(_dot(half, half))[:, None]
    squared = rough**4
    peak = numpy.maximum(_dot(normals, half), 0)
    narrow = peak * peak * (squared - 1) + 1
    spread = squared / numpy.maximum(
        narrow * narrow, numpy.float32(1e-6)
    )  # pi is left out here and in the diffuse part
    seen = reach * numpy.sqrt(facing * facing * (1 - squared) + squared)
    seen += facing * numpy.sqrt(reach * reach * (1 - squared) + squared)
    shine = spread * numpy.float32(0.5) / numpy.maximum(seen, numpy.float32(1e-4))
    edge = (1 - numpy.maximum(_dot(views, half), 0)) ** 5
    shine = numpy.minimum(shine, 8) * numpy.float32(0.6)
    result: Floats = body + (mirror + (1 - mirror) * edge[:, None]) * shine[:, None]
    result *= reach[:, None]
    return result


def _environment(normals: Floats, views: Floats, facing: Floats, rough: Floats) -> Floats:
    """Brightness that a mirror shows, (n,), softer the rougher it is."""
    reflected = normals * (2 * facing)[:, None] - views
    height = reflected[:, 1]
    width = numpy.float32(0.15) + numpy.float32(0.85) * rough
    above = _smooth(height / width)
    below = _smooth(-height / width)
    brightness = MIRROR_HORIZON + (MIRROR_SKY - MIRROR_HORIZON) * above + (MIRROR_GROUND - MIRROR_HORIZON) * below
    shown: Floats = brightness.astype(numpy.float32)
    for (place, _), bright in zip(LIGHTS[:2], BOXES, strict=True):
        close = reflected @ numpy.array(place, numpy.float32)
        edge = numpy.float32(0.03) + numpy.float32(0.5) * rough
        box = _smooth((close - (numpy.float32(0.93) - edge)) / (2 * edge))
        shown += numpy.float32(bright) * box * (1 - numpy.float32(0.8) * rough)
    return shown


def _mirrored(mirror: Floats, facing: Floats, rough: Floats) -> Floats:
    """How much of the surroundings a surface gives back, (n, 3)."""
    cut = numpy.minimum((1 - rough) ** 2, numpy.exp2(numpy.float32(-9.28) * facing)) * (1 - rough)
    cut += numpy.float32(0.0425) - numpy.float32(0.0275) * rough
    scale = numpy.float32(1.04) - numpy.float32(1.04) * cut - numpy.float32(0.572) * rough
    shift = numpy.float32(1.04) * cut + numpy.float32(0.022) * rough - numpy.float32(0.04)
    result: Floats = mirror * numpy.maximum(scale, 0)[:, None] + numpy.maximum(shift, 0)[:, None]
    return result


def _smooth(values: Any) -> Any:
    part = numpy.clip(values, numpy.float32(0), numpy.float32(1))
    return part * part * (3 - 2 * part)


def _dot(one: Floats, other: Floats) -> Floats:
    result: Floats = numpy.einsum("ij,ij->i", one, other)
    return result


def encode(light: Floats) -> Floats:
    """The sRGB values from 0 to 1 that show linear light, whatever its strength."""
    strong = light > SHOULDER
    if strong.any():
        room = 1 - SHOULDER
        light = numpy.where(strong, 1 - room * numpy.exp((SHOULDER - light) / numpy.float32(room)), light)
    steps = numpy.sqrt(numpy.clip(light, 0, 1)) * numpy.float32(_LEVELS - 1)  # the root spreads the dark values
    result: Floats = _TO_SRGB[(steps + numpy.float32(0.5)).astype(numpy.uint16)]
    return result


def linear(values: Floats) -> Floats:
    """Linear light of sRGB values from 0 to 1."""
    result: Floats = _TO_LINEAR[(numpy.clip(values, 0, 1) * (_LEVELS - 1) + numpy.float32(0.5)).astype(numpy.uint16)]
    return result


def _table() -> Floats:
    light = (numpy.arange(_LEVELS) / (_LEVELS - 1)) ** 2
    curve = numpy.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return curve.astype(numpy.float32)


def _back() -> Floats:
    value = numpy.arange(_LEVELS) / (_LEVELS - 1)
    light = numpy.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return light.astype(numpy.float32)


_TO_SRGB, _TO_LINEAR = _table(), _back()


def _vector(values: tuple[float, ...]) -> str:
    return f"vec3({', '.join(f'{value:.5f}' for value in values)})"


def shader() -> str:
    """The same light as GLSL: vec3 studio(albedo, metalness, roughness, normal, view) and vec3 encode(light)."""
    lamps = "\n".join(
        f"  light += studio_lamp(body, mirror, rough, N, V, NV, {_vector(place)}) * {_vector(colour)};"
        for place, colour in LIGHTS
    )
    boxes = "\n".join(
        f"  shown += {bright:.4f} * smoothstep(0.0, 1.0, (dot(R, {_vector(place)}) - 0.93 + edge) / (2.0 * edge))"
        " * (1.0 - 0.8 * rough);"
        for (place, _), bright in zip(LIGHTS[:2], BOXES, strict=True)
    )
    return f"""
vec3 studio_lamp(vec3 body, vec3 mirror, float rough, vec3 N, vec3 V, float NV, vec3 L)
{{
  float NL = dot(N, L);
  if (NL <= 0.0) {{ return vec3(0.0); }}
  vec3 H = normalize(V + L);
  float a2 = rough * rough * rough * rough;
  float NH = max(dot(N, H), 0.0);
  float narrow = NH * NH * (a2 - 1.0) + 1.0;
  float spread = a2 / max(narrow * narrow, 1e-6);
  float seen = NL * sqrt(NV * NV * (1.0 - a2) + a2) + NV * sqrt(NL * NL * (1.0 - a2) + a2);
  float shine = min(spread * 0.5 / max(seen, 1e-4), 8.0);
  float edge = pow(1.0 - max(dot(V, H), 0.0), 5.0);
  return (body + (mirror + (vec3(1.0) - mirror) * edge) * shine * 0.6) * NL;
}}
vec3 studio(vec3 albedo, float metalness, float roughness, vec3 N, vec3 V)
{{
  float NV = max(dot(N, V), 0.02);
  float rough = clamp(roughness, 0.06, 1.0);
  vec3 mirror = mix(vec3(0.04), albedo, metalness);
  vec3 body = albedo * (1.0 - metalness);
  vec3 light = body * mix({_vector(GROUND)}, {_vector(SKY)}, N.y * 0.5 + 0.5);
  vec3 R = N * (2.0 * NV) - V;
  float width = 0.15 + 0.85 * rough;
  float shown = {MIRROR_HORIZON:.4f} + {MIRROR_SKY - MIRROR_HORIZON:.4f} * smoothstep(0.0, 1.0, R.y / width)
    + {MIRROR_GROUND - MIRROR_HORIZON:.4f} * smoothstep(0.0, 1.0, -R.y / width);
  float edge = 0.03 + 0.5 * rough;
{boxes}
  float cut = min((1.0 - rough) * (1.0 - rough), exp2(-9.28 * NV)) * (1.0 - rough) + 0.0425 - 0.0275 * rough;
  float scale = max(1.04 - 1.04 * cut - 0.572 * rough, 0.0);
  float shift = max(1.04 * cut + 0.022 * rough - 0.04, 0.0);
  light += shown * (mirror * scale + vec3(shift));
{lamps}
  return light;
}}
vec3 encode(vec3 light)
{{
  vec3 soft = 1.0 - {1 - SHOULDER:.4f} * exp(({SHOULDER:.4f} - light) / {1 - SHOULDER:.4f});
  vec3 value = clamp(mix(light, soft, step(vec3({SHOULDER:.4f}), light)), 0.0, 1.0);
  return mix(value * 12.92, 1.055 * pow(value, vec3(1.0 / 2.4)) - 0.055, step(vec3(0.0031308), value));
}}
vec3 linear(vec3 value)
{{
  return mix(value / 12.92, pow((value + 0.055) / 1.055, vec3(2.4)), step(vec3(0.04045), value));
}}
"""
