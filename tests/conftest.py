"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

# Machines under test are busy with other things too: a slow example is no fault.
settings.register_profile("suite", deadline=None, max_examples=60)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is quick first: units, then acceptance, then the tests that kill things."""
    order = {"unit": 0, "acceptance": 1, "integration": 2}
    items.sort(key=lambda item: order.get(item.path.relative_to(item.config.rootpath).parts[1], 0))
