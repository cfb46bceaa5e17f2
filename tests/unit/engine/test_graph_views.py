"""Pictures of graphs: what is shown, what is folded, and that nothing of a stranger's text is more than text."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_ray.graph_views import as_dot, as_mermaid, as_svg, as_text
from pixyz_ray.graph_views.layout import Rect, arrange
from pixyz_ray.graph_views.looks import LOOKS, clean, counted, seconds
from pixyz_ray.graph_views.scene import make_scene

WRITERS: list[Callable[[dict[str, Any]], str]] = [as_mermaid, as_dot, as_svg, as_text]
ELEMENTS = {"svg", "title", "style", "rect", "g", "text", "path"}
ATTRIBUTES = {"class", "width", "height", "viewBox", "role", "lang", "rx", "x", "y", "transform", "d"}
SVG = "{http://www.w3.org/2000/svg}"


def node(id: str, kind: str = "task", state: str = "SUCCESS", **more: Any) -> dict[str, Any]:
    """A node of a view."""
    plain = {"queue": None if kind == "group" else "cpu", "progress": None, "error": None, "started": None}
    times = {"stopped": None, "duration": 1.5, "retry": 0, "group": None, "parent_id": "root"}
    return {"id": id, "kind": kind, "name": id, "entrypoint": "main", "state": state, **plain, **times, **more}


def view(nodes: list[dict[str, Any]], edges: list[tuple[str, str, str]], state: str = "RUNNING") -> dict[str, Any]:
    """A view below a root job."""
    root = node("root", "job", state, name="job.py", parent_id=None)
    plain = [{"source": source, "target": target, "kind": kind} for source, target, kind in edges]
    return {"uuid": "root", "state": state, "nodes": [root, *nodes], "edges": plain}


def chord() -> dict[str, Any]:
    """Split, three members of which one fails and one started a task itself, merge."""
    return view(
        [
            node("split"),
            node("g", "group", "RUNNING", name="parts", duration=None),
            node("a", group="g"),
            node("b", state="FAILURE", group="g", error="Traceback:\n  ...\nValueError: no triangles"),
            node("c", state="RUNNING", group="g", queue="gpu", progress=60),
            node("child", parent_id="a"),
            node("merge", state="PENDING", duration=None),
            node("clean", state="PENDING", duration=None, retry=2),
        ],
        [
            ("root", "split", "starts"),
            *(("split", member, "data") for member in "abc"),
            ("a", "child", "starts"),
            ("g", "merge", "data"),
            ("merge", "clean", "order"),
        ],
    )


def group_of(count: int, failing: int = 0) -> dict[str, Any]:
    """A job that started one group, some members of which fail."""
    members = [
        node(f"t{n}", state="FAILURE" if n % 7 == 3 and n // 7 < failing else "SUCCESS", group="g")
        for n in range(count)
    ]
    return view([node("g", "group"), *members], [("root", f"t{n}", "starts") for n in range(count)])


def chain_of(count: int, running: int = -1) -> dict[str, Any]:
    """A job that started one chain."""
    steps = [
        node(f"s{n}", state="SUCCESS" if n < running or running < 0 else "RUNNING" if n == running else "PENDING")
        for n in range(count)
    ]
    edges = [(f"s{n}", f"s{n + 1}", "data") for n in range(count - 1)]
    return view(steps, [("root", "s0", "starts"), *edges])


def test_given_a_chord_when_told_as_text_then_it_is_a_tree() -> None:
    """Members stand below their group, what a task started below it, and arrows say what goes on."""
    assert as_text(chord()).splitlines() == [
        "◐ RUNNING  job.py  cpu  1.50 s  root",
        "├── ✓ SUCCESS  split  cpu  1.50 s",
        "├─→ ◐ RUNNING  parts  4 tasks: 2 SUCCESS, 1 RUNNING, 1 FAILURE",
        "│   ├── ✓ SUCCESS  a  cpu  1.50 s",
        "│   │   └── ✓ SUCCESS  child  cpu  1.50 s",
        "│   ├── ✗ FAILURE  b  cpu  1.50 s  b",
        "│   │       ValueError: no triangles",
        "│   └── ◐ RUNNING  c  gpu  1.50 s  60 %",
        "├─→ ○ PENDING  merge  cpu",
        "└─⇢ ○ PENDING  clean  cpu  retry 2",
    ]


def test_given_a_chord_when_written_as_mermaid_then_the_group_is_a_subgraph() -> None:
    """The members are in the subgraph, and links lead to it as a whole."""
    lines = [line.strip() for line in as_mermaid(chord()).splitlines()]
    begin, end = lines.index("direction TB"), lines.index("end")
    group = lines[begin - 1]
    key = re.fullmatch(r'subgraph (\w+)\["◐ parts<br/>.*"\]', group)
    assert key, group
    assert sum(":::" in line for line in lines[begin:end]) == 4
    split = next(line.partition("[")[0] for line in lines if "✓ split" in line)
    merge = next(line.partition("[")[0] for line in lines if "○ merge" in line)
    assert f"{split} --> {key[1]}" in lines
    assert f"{key[1]} --> {merge}" in lines
    assert any(line.startswith("classDef failure fill:") for line in lines)


def test_given_a_chord_when_written_as_dot_then_the_group_is_a_cluster() -> None:
    """Edges are cut at the cluster, and each kind of edge has its style."""
    text = as_dot(chord())
    assert re.search(r"subgraph cluster_n\d+ \{", text)
    assert "lhead=cluster_" in text
    assert "ltail=cluster_" in text
    assert {"style=solid", "style=dashed", "style=bold"} <= set(re.findall(r"style=\w+", text))
    assert dot_tokens(text).count("{") == 2


def test_given_a_chord_when_drawn_as_svg_then_it_stands_alone() -> None:
    """It has a size, a title, a tooltip for each node, colours for dark pages, and nothing that runs or is fetched."""
    text = as_svg(chord())
    root = ElementTree.fromstring(text)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert root.attrib["viewBox"] == f"0 0 {root.attrib['width']} {root.attrib['height']}"
    assert min(width, height) > 100
    assert (
        root.findtext(f"{SVG}title") == "Graph of job.py, RUNNING, 8 tasks: 3 SUCCESS, 2 RUNNING, 2 PENDING, 1 FAILURE"
    )
    tooltips = [title.text or "" for title in root.iter(f"{SVG}title")][1:]
    assert len(tooltips) == 9
    assert any("ValueError: no triangles" in each and "id: b" in each for each in tooltips)
    assert "prefers-color-scheme:dark" in text
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == ELEMENTS
    assert not re.search(r"url\(|@import|href|\bon\w+=", text)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("state", LOOKS)
def test_given_a_state_when_written_then_its_symbol_and_word_are_there(
    writer: Callable[[dict[str, Any]], str], state: str
) -> None:
    """No state is told by its colour alone."""
    text = writer(view([node("t", state=state)], [("root", "t", "starts")], state))
    assert LOOKS[state].symbol in text or f"#{ord(LOOKS[state].symbol)};" in text
    assert state in text


@pytest.mark.parametrize("writer", WRITERS)
def test_given_ten_thousand_members_when_written_then_the_group_is_one_box(
    writer: Callable[[dict[str, Any]], str],
) -> None:
    """The counts stand for them; of those that fail ten are shown; it takes well under a second."""
    graph = group_of(10_000, failing=30)
    begin = time.process_time()
    text = writer(graph)
    assert time.process_time() - begin < 1.0
    plain = re.sub(r"#(\d+);", lambda match: chr(int(match[1])), text)
    assert "10,000 tasks: 9,970 SUCCESS, 30 FAILURE" in plain
    assert "t3" in text
    assert "t66" in text
    assert "t73" not in text
    assert len(text) < 20_000


def test_given_members_when_there_are_up_to_forty_then_all_are_shown() -> None:
    """One more, and the group is folded."""
    assert len(as_text(group_of(40)).splitlines()) == 42
    assert len(as_text(group_of(41)).splitlines()) == 2


@pytest.mark.parametrize("writer", WRITERS)
def test_given_a_chain_of_a_thousand_when_written_then_its_middle_is_folded(
    writer: Callable[[dict[str, Any]], str],
) -> None:
    """First, last and running steps are shown."""
    text = writer(chain_of(1000, running=943))
    assert "… 940 SUCCESS …" in text
    assert "… 53 PENDING …" in text
    for shown in ("s0", "s2", "s943", "s997", "s999"):
        assert re.search(rf"\b{shown}\b", text)
    assert not re.search(r"\bs(3|942|944|996)\b", text)


def test_given_a_chain_when_it_is_short_then_it_is_whole() -> None:
    """Sixty steps are all shown."""
    assert len(as_text(chain_of(60)).splitlines()) == 61


def test_given_many_single_tasks_when_shown_then_they_are_one_box() -> None:
    """A script that starts thousands one by one is no longer to look at than one that starts a group."""
    tasks = [node(f"t{n}") for n in range(5000)]
    text = as_text(view(tasks, [("root", f"t{n}", "starts") for n in range(5000)]))
    assert text.splitlines()[1:] == ["└── ✓ SUCCESS  started one by one  5,000 tasks: 5,000 SUCCESS"]


def test_given_a_deep_tree_of_waiters_when_written_then_there_is_no_recursion_trouble() -> None:
    """Each of 3,000 tasks started the next one; and 400 groups stand in one another."""
    tasks = [node(f"t{n}", state="RUNNING", parent_id=f"t{n - 1}" if n else "root") for n in range(3000)]
    edges = [(f"t{n - 1}" if n else "root", f"t{n}", "starts") for n in range(3000)]
    groups = [node(f"g{n}", "group", group=f"g{n - 1}" if n else None) for n in range(400)]
    for writer in WRITERS:
        assert writer(view(tasks, edges))
        assert writer(view([*groups, node("in", group="g399")], [("root", "in", "starts")]))


@pytest.mark.parametrize("told", [True, False])
def test_given_chains_in_a_group_when_drawn_then_all_their_steps_are_in_its_box(told: bool) -> None:
    """So it is whether or not the earlier steps say that they are members."""
    nodes = [node("load"), node("g", "group"), node("merge")]
    edges = [("root", "load", "starts"), ("g", "merge", "data")]
    for name in "ab":
        nodes += [node(f"{name}1", group="g" if told else None), node(f"{name}2", group="g")]
        edges += [("load", f"{name}1", "data"), (f"{name}1", f"{name}2", "data")]
    scene = make_scene(view(nodes, edges))
    titles = {key: [item.title for item in items] for key, items in scene.inside.items()}
    group = next(item.key for item in scene.inside[None] if item.title == "g")
    assert titles[None] == ["job.py", "load", "g", "merge"]
    assert titles[group] == ["a1", "a2", "b1", "b2"]


@pytest.mark.parametrize(
    ("duration", "told"),
    [
        (0, "0.00 s"),
        (0.4216, "0.42 s"),
        (9.996, "10.0 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3720, "1 h 02 min"),
    ],
)
def test_given_a_duration_when_told_then_it_is_short(duration: float, told: str) -> None:
    """Two figures are enough."""
    assert seconds(duration) == told


def test_given_nothing_when_written_then_there_is_a_picture_all_the_same() -> None:
    """A view without nodes, and a group without members."""
    for writer in WRITERS:
        assert writer({"uuid": "x", "state": "PENDING", "nodes": [], "edges": []})
    assert "no tasks" in as_text(view([node("g", "group")], [("root", "g", "starts")]))
    assert counted({}) == "no tasks"


# --- Strangers' text -------------------------------------------------------------------------------------------------

NASTY = st.text() | st.sampled_from(
    [
        "</title><script>alert(1)</script>",
        "]]></style>",
        '"]:::x\nclick n0 call alert()',
        "`md` %%{init: {}}%% #quot; &lt;",
        'a\\"; n9 -> n8 [x="',
        "\\",
        "\x1b[2J\x07\ud800\x00\u202e",
        "end",
        "]",
    ]
)
STATES = st.sampled_from([*LOOKS, "UNHEARD OF"]) | NASTY
KINDS = st.sampled_from(["job", "task", "part", "group"])


@st.composite
def wild_views(draw: st.DrawFn) -> dict[str, Any]:
    """Views with any text and any structure, sensible or not."""
    ids = draw(st.lists(NASTY.filter(bool), min_size=1, max_size=12, unique=True))
    some_id = st.none() | st.sampled_from([*ids, "nobody"])
    nodes = [
        node(
            id,
            draw(KINDS),
            draw(STATES),
            name=draw(NASTY),
            error=draw(st.none() | NASTY),
            queue=draw(st.none() | NASTY),
            entrypoint=draw(NASTY),
            progress=draw(st.none() | st.integers(-5, 200)),
            duration=draw(st.none() | st.floats(0, 1e9)),
            group=draw(some_id),
            parent_id=draw(some_id),
        )
        for id in ids
    ]
    kinds = st.sampled_from(["starts", "data", "order", "failure"])
    edges = draw(st.lists(st.fixed_dictionaries({"source": some_id, "target": some_id, "kind": kinds}), max_size=20))
    return {"uuid": ids[0], "state": draw(STATES), "nodes": nodes, "edges": edges}


@given(wild_views())
@settings(deadline=None, max_examples=120)
def test_any_text_gives_well_formed_xml(wild: dict[str, Any]) -> None:
    """Given any names and any structure, when drawn, then the SVG parses and has only our elements."""
    root = ElementTree.fromstring(as_svg(wild).encode())
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= ELEMENTS
    assert {name for element in root.iter() for name in element.attrib} <= ATTRIBUTES


@given(wild_views())
@settings(deadline=None, max_examples=120)
def test_any_text_gives_valid_dot(wild: dict[str, Any]) -> None:
    """Given any names, when written as DOT, then it is nothing but tokens of ours and whole quoted strings."""
    tokens = dot_tokens(as_dot(wild))
    assert tokens.count("{") == tokens.count("}")
    words = {token for token in tokens if not token.startswith('"') and token.isidentifier()}
    assert all(re.fullmatch(r"n\d+|cluster_n\d+|[a-z]+|TB|box3d", word) for word in words)


@given(wild_views())
@settings(deadline=None, max_examples=120)
def test_any_text_gives_mermaid_of_ours_alone(wild: dict[str, Any]) -> None:
    """Given any names, when written as Mermaid, then each line is one that we write, with labels that end nothing."""
    label = r'"(?:\w|[ .,\-…·✓◐◔○↻⊘✗]|#\d+;|<br/>)*"'
    lines = "|".join(
        [
            r"%%\{init: .*\}%%",
            "flowchart TB",
            r"accTitle: [^\n#;]*(?:#\d+;[^\n#;]*)*",
            rf"subgraph n\d+\[{label}\]",
            "direction TB",
            "end",
            rf"n\d+(?:\[{label}\]|\[\[{label}\]\]|\(\[{label}\]\)):::\w+",
            r"n\d+ (?:-->|-\.->|==>|~~~|-\. fails \.->) n\d+",
            r"style n\d+ fill:#808080,fill-opacity:0.08,stroke:#\w{6}",
            r"classDef \w+ fill:#\w{6},stroke:#\w{6},color:#1a1a1a",
        ]
    )
    first, *others = as_mermaid(wild).rstrip("\n").split("\n")
    assert first.startswith("%%{init")
    assert all(re.fullmatch(lines, line.strip(" ")) and "%%" not in line for line in others)


@given(wild_views())
@settings(deadline=None, max_examples=120)
def test_any_text_gives_lines_that_a_terminal_only_shows(wild: dict[str, Any]) -> None:
    """Given any names, when told as text, then no control character is in it."""
    assert all(line.isprintable() for line in as_text(wild).split("\n"))


@given(st.text(), st.integers(1, 80))
def test_clean_text_is_one_short_line(text: str, limit: int) -> None:
    """Given any text, when cleaned, then it is printable, has no line break and is not longer than asked for."""
    line = clean(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    assert clean(line, limit) == line


@given(wild_views())
@settings(deadline=None, max_examples=120)
def test_nothing_is_drawn_over_its_neighbour(wild: dict[str, Any]) -> None:
    """Given any structure, when arranged, then neighbours do not overlap, and each box holds what is in it."""
    scene = make_scene(wild)
    rects, (width, height) = arrange(scene, lambda item: (60.0 + len(item.title), 30.0))
    frames: dict[str | None, Rect] = {None: Rect(x=0, y=0, width=width, height=height), **rects}
    for box, items in scene.inside.items():
        inner = [rects[item.key] for item in items]
        assert all(_holds(frames[box], rect) for rect in inner)
        assert not any(_overlap(one, other) for n, one in enumerate(inner) for other in inner[:n])


def _holds(frame: Rect, rect: Rect) -> bool:
    across = frame.x - 0.01 <= rect.x and rect.x + rect.width <= frame.x + frame.width + 0.01
    return across and frame.y - 0.01 <= rect.y and rect.y + rect.height <= frame.y + frame.height + 0.01


def _overlap(one: Rect, other: Rect) -> bool:
    across = one.x < other.x + other.width - 0.01 and other.x < one.x + one.width - 0.01
    return across and one.y < other.y + other.height - 0.01 and other.y < one.y + one.height - 0.01


def dot_tokens(text: str) -> list[str]:
    """The tokens of a DOT document; fails on what is none."""
    token = re.compile(r'\s*("(?:[^"\\\n]|\\[^\n])*"|->|[A-Za-z_]\w*|\d+(?:\.\d+)?|[{}\[\]=;,])')
    tokens, place = [], 0
    text = text.rstrip()
    while place < len(text):
        match = token.match(text, place)
        assert match, text[place : place + 80]
        tokens.append(match[1])
        place = match.end()
    return tokens


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_given_graphviz_when_it_reads_our_dot_then_it_takes_it() -> None:
    """What Graphviz shows is what was written, a backslash and an entity included."""
    graph = view([node("t", name='a\\"b & <c> &lt;')], [("root", "t", "starts")])
    done = subprocess.run(["dot", "-Tsvg"], input=as_dot(graph).encode(), capture_output=True, check=True)
    texts = [element.text or "" for element in ElementTree.fromstring(done.stdout).iter(f"{SVG}text")]
    assert '✓ a\\"b & <c> &lt;' in texts
    assert not done.stderr or b"font" in done.stderr.lower()


def test_the_package_is_light() -> None:
    """Given a fresh process, when it imports the package, then nothing but the standard library is loaded."""
    probe = "import sys, pixyz_ray.graph_views; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"ray", "pydantic", "httpx", "click", "rich", "numpy", "asyncio"}
