"""A graph as a standalone SVG: no script, nothing fetched, light or dark as its reader likes it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

from pixyz_ray.graph_views.layout import Rect, Size, arrange
from pixyz_ray.graph_views.looks import LOOKS, look_of
from pixyz_ray.graph_views.scene import Item, Link, Scene, make_scene

_CARD_WIDTH, _CARD_HEIGHT, _ERROR_HEIGHT, _PROGRESS_HEIGHT = 216.0, 50.0, 17.0, 6.0
_WIDE_CARD = 264.0
_HEAD_HEIGHT, _WIDEST_HEAD = 60.0, 560.0
_MARGIN = 24.0
_LEGEND_HEIGHT = 40.0
_NAME_SIZE, _FACT_SIZE = 13.0, 11.0
_KINDS = {"starts": "starts", "data": "result goes on", "order": "comes after", "failure": "if it fails"}
_SEVERAL = frozenset({"group", "bundle", "run"})


def as_svg(view: Mapping[str, Any]) -> str:
    """Return the picture of a view; each node has a tooltip.

    Args:
        view: the answer of `GET /jobs/{id}/graph`.
    """
    scene = make_scene(view)
    return "\n".join(_Drawing(scene).lines()) + "\n"


class _Drawing:
    """A scene with its places."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._rects, (width, height) = arrange(scene, _size)
        self._legend = list(_legend(scene))
        legend_width = sum(width for width, _ in self._legend)
        self._width = max(width, legend_width) + 2 * _MARGIN
        self._height = height + 2 * _MARGIN + _LEGEND_HEIGHT
        self._left = (self._width - width) / 2

    def lines(self) -> Iterator[str]:
        """The lines of the document."""
        width, height = _number(self._width), _number(self._height)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="pxg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="graphics-document" lang="en">'
        )
        yield f"<title>{escape(self._scene.title)}</title>"
        yield f"<style>{_STYLE}</style>"
        yield f'<rect class="ground" width="{width}" height="{height}" rx="8"/>'
        yield f'<g transform="translate({_number(self._left)} {_number(_MARGIN)})">'
        events = list(self._scene.walk())
        for event, item, _ in events:
            if event == "open":
                yield from _box(item, self._rects[item.key])
        for link in self._scene.all_links():
            yield _arrow(link, self._rects)
        for event, item, _ in events:
            if event == "leaf":
                yield from _card(item, self._rects[item.key])
        yield "</g>"
        x = _MARGIN
        for step, drawing in self._legend:
            yield f'<g transform="translate({_number(x)} {_number(self._height - _MARGIN)})">{drawing}</g>'
            x += step
        yield "</svg>"


def _size(item: Item) -> Size:
    """The size of a card, or of the head of a box."""
    if item.kind not in _SEVERAL:
        more = (_ERROR_HEIGHT if item.error else 0.0) + (0.0 if item.progress is None else _PROGRESS_HEIGHT)
        return _CARD_WIDTH, _CARD_HEIGHT + more
    width = max(_width(item.headline, _NAME_SIZE, bold=True), _width(item.subline, _FACT_SIZE)) + 34
    if item.kind == "run":
        return max(_CARD_WIDTH, min(width, _WIDEST_HEAD)), _CARD_HEIGHT + _PROGRESS_HEIGHT
    return max(_WIDE_CARD, min(width, _WIDEST_HEAD)), _HEAD_HEIGHT


def _box(item: Item, rect: Rect) -> Iterator[str]:
    yield f'<g class="box {item.look.name}" role="graphics-object">{_tooltip(item)}'
    yield f'<rect class="frame" {_corners(rect)} rx="10"/>'
    yield from _texts(item, rect)
    yield from _shares(item, rect, rect.y + 46)
    yield "</g>"


def _card(item: Item, rect: Rect) -> Iterator[str]:
    yield f'<g class="{item.look.name}" role="graphics-symbol">{_tooltip(item)}'
    if item.kind in _SEVERAL:
        for offset in (8.0, 4.0):
            behind = Rect(x=rect.x + offset, y=rect.y + offset, width=rect.width, height=rect.height)
            yield f'<rect class="card behind" {_corners(behind)} rx="7"/>'
    radius = min(rect.height / 2, 25.0) if item.kind == "job" else 7.0
    yield f'<rect class="card" {_corners(rect)} rx="{_number(radius)}"/>'
    if item.kind != "job":
        stripe = Rect(x=rect.x, y=rect.y + 9, width=4, height=rect.height - 18)
        yield f'<rect class="ink" {_corners(stripe)} rx="2"/>'
    yield from _texts(item, rect)
    if item.kind in _SEVERAL:
        yield from _shares(item, rect, rect.y + rect.height - (14 if item.kind != "run" else 10))
    elif item.progress is not None:
        yield from _progress(item.progress, rect)
    yield "</g>"


def _texts(item: Item, rect: Rect) -> Iterator[str]:
    x, room = rect.x + 16, rect.width - 28
    name = _fit(item.title, room - 20, _NAME_SIZE, bold=True)
    yield f'<text class="mark" x="{_number(x)}" y="{_number(rect.y + 21)}">{escape(item.look.symbol)}</text>'
    yield f'<text class="name" x="{_number(x + 18)}" y="{_number(rect.y + 21)}">{escape(name)}</text>'
    facts = _fit(item.subline, room, _FACT_SIZE)
    yield f'<text class="fact" x="{_number(x)}" y="{_number(rect.y + 38)}">{escape(facts)}</text>'
    if item.error and item.kind not in _SEVERAL:
        error = _fit(item.error, room, _FACT_SIZE)
        yield f'<text class="fact why" x="{_number(x)}" y="{_number(rect.y + 55)}">{escape(error)}</text>'


def _shares(item: Item, rect: Rect, y: float) -> Iterator[str]:
    """A bar that shows how many tasks are in each state."""
    total = sum((item.counts or {}).values())
    x, room = rect.x + 16, rect.width - 32
    for state in [*LOOKS, *sorted(set(item.counts or {}) - set(LOOKS))]:
        count = (item.counts or {}).get(state, 0)
        if count:
            width = room * count / total
            part = Rect(x=x, y=y, width=max(width, 0.5), height=4)
            yield f'<rect class="share {look_of(state).name}" {_corners(part)}/>'
            x += width


def _progress(progress: float, rect: Rect) -> Iterator[str]:
    room = rect.width - 32
    for css, share in (("rail", 1.0), ("ink", progress / 100)):
        part = Rect(x=rect.x + 16, y=rect.y + rect.height - 9, width=room * share, height=3)
        yield f'<rect class="{css}" {_corners(part)} rx="1.5"/>'


def _arrow(link: Link, rects: Mapping[str, Rect]) -> str:
    source, target = rects[link.source.key], rects[link.target.key]
    x1, y1, x2, y2 = source.middle, source.y + source.height, target.middle, target.y - 1
    bend = max(14.0, abs(y2 - y1) / 2)
    points = f"M{_number(x1)} {_number(y1)}C{_number(x1)} {_number(y1 + bend)} "
    points += f"{_number(x2)} {_number(y2 - 6 - bend)} {_number(x2)} {_number(y2 - 6)}"
    return f'<path class="link {_kind(link.kind)}" d="{points}"/>{_tip(x2, y2)}'


def _tip(x: float, y: float) -> str:
    return f'<path class="tip" d="M{_number(x)} {_number(y)}l-4 -7h8z"/>'


def _legend(scene: Scene) -> Iterator[tuple[float, str]]:
    """The states and the links that are in the picture: how much room each takes, and its drawing."""
    states: dict[str, None] = {}
    for _, item, _ in scene.walk():
        states |= dict.fromkeys(item.counts or {}, None) | {item.state: None}
    for state in LOOKS:
        if state in states:
            look = look_of(state)
            word = f'<text class="mark">{look.symbol}</text><text class="fact" x="16">{state}</text>'
            yield 34 + _width(state, _FACT_SIZE), f'<g class="{look.name}">{word}</g>'
    kinds = {link.kind for link in scene.all_links()}
    for kind, words in _KINDS.items():
        if kind in kinds:
            line = f'<path class="link {kind}" d="M0 -4h22"/><path class="tip" d="M29 -4l-7 -4v8z"/>'
            yield 54 + _width(words, _FACT_SIZE), f'{line}<text class="fact" x="35">{words}</text>'


def _tooltip(item: Item) -> str:
    return f"<title>{escape(chr(10).join((*item.lines, *item.details)))}</title>"


def _kind(kind: str) -> str:
    return kind if kind in _KINDS else "data"


def _corners(rect: Rect) -> str:
    x, y, width, height = (_number(value) for value in (rect.x, rect.y, rect.width, rect.height))
    return f'x="{x}" y="{y}" width="{width}" height="{height}"'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _width(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide text is drawn; rather too much than too little, since fonts differ."""
    return sum(_char_width(each) for each in text) * size * (1.07 if bold else 1.0)


def _char_width(each: str) -> float:
    if each in " .,:;'|!()[]ijlft·":
        return 0.36
    if unicodedata.east_asian_width(each) in "WF":
        return 1.05
    return 0.72 if each.isupper() or each in "mw@%…" else 0.58


def _fit(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """As much of a text as there is room for."""
    if _width(text, size, bold=bold) <= room:
        return text
    while text and _width(text + "…", size, bold=bold) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def _colours(attribute: str) -> str:
    looks = {look.name: look for look in (*LOOKS.values(), look_of(""))}.values()
    return "".join(
        f".pxg .{look.name} .ink,.pxg .share.{look.name},.pxg .{look.name} .mark{{fill:{getattr(look, attribute)}}}"
        f".pxg .{look.name}>.frame{{stroke:{getattr(look, attribute)}}}"
        for look in looks
    )


_STYLE = (
    ".pxg{font-family:system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}"
    ".pxg .ground{fill:#ffffff}"
    ".pxg .card{fill:#ffffff;stroke:#c9ced6}.pxg .behind{fill:#f4f5f7}"
    ".pxg .frame{fill:#7f8a99;fill-opacity:.07;stroke-opacity:.55}"
    ".pxg text{fill:#1b1f24}.pxg .mark{font-size:14px;font-weight:700}"
    ".pxg .name{font-size:13px;font-weight:600}.pxg .fact{font-size:11px;fill:#57606a}"
    ".pxg .why{fill:#a04000}.pxg .rail{fill:#dfe3e8}"
    ".pxg .link{fill:none;stroke:#8b949e;stroke-width:1.5}.pxg .order{stroke-dasharray:4 4}.pxg .failure{stroke-dasharray:1 4}"
    ".pxg .starts{stroke-width:3;stroke-opacity:.55}.pxg .tip{fill:#8b949e}"
    f"{_colours('ink')}"
    "@media(prefers-color-scheme:dark){"
    ".pxg .ground{fill:#0f1319}.pxg .card{fill:#1b212a;stroke:#39424e}.pxg .behind{fill:#151a21}"
    ".pxg text{fill:#e8ebef}.pxg .fact{fill:#a7b0bb}.pxg .why{fill:#ffa566}.pxg .rail{fill:#333c47}"
    f"{_colours('night')}"
    "}"
)
