"""The documents say what is there: links lead somewhere, tables are those of the code, the cluster file is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pixyz_ray.queues import DEFAULT_QUEUES
from pixyz_ray.setting_table import settings_table

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "samples").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_given_a_page_when_its_links_are_followed_then_each_leads_to_a_file(page: Path) -> None:
    """A link to another file of the project is right, its heading too."""
    for target in re.findall(r"\]\(([^)#\s]+)?(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if target and "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_given_the_settings_when_a_field_changes_then_the_document_says_so() -> None:
    """The table of settings is what `python -m pixyz_ray.setting_table` prints."""
    assert settings_table() in (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


def test_given_the_queues_when_documented_then_each_has_its_row() -> None:
    """Every queue stands in the operator's table."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    for name in DEFAULT_QUEUES:
        assert re.search(rf"\b{name}\b", rows), f"queue {name} has no row"


def test_given_the_cluster_file_when_read_as_ray_does_then_it_is_valid() -> None:
    """Ray's own schema accepts cluster.yaml, and its nodes start with the platform's variables."""
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    config = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    # `ray up` itself fills in the defaults of the provider before it validates.
    validate_config(fillout_defaults(config))
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "pixyz_ray.cluster.environment" in commands[1]
