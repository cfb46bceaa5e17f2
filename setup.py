"""Build steps that pyproject.toml cannot express: put pixyz_worker/pixyz_startup.pth into site-packages.

A `.pth` file works only at the top of site-packages. Neither package data nor data files get there, and an editable
install ignores both, so it is copied into the wheel here: into the real one by build_py, into the editable one by
editable_wheel. All else is in pyproject.toml.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

PTH = "pixyz_worker/pixyz_startup.pth"


class BuildWithPth(build_py):
    """build_py that also copies the .pth file, and names it as a source so that it is in the sdist."""

    def run(self) -> None:
        """Copy modules, and the .pth file beside them."""
        super().run()
        if not self.editable_mode:
            self.copy_file(PTH, self.build_lib)

    def get_source_files(self) -> list[str]:
        """Return what belongs into an sdist."""
        return [*super().get_source_files(), PTH]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return what `run` writes."""
        own = [] if self.editable_mode else [f"{self.build_lib}/{Path(PTH).name}"]
        return [*super().get_outputs(include_bytecode), *own]


class EditableWheelWithPth(editable_wheel):
    """editable_wheel that also puts the .pth file into the wheel."""

    def _run_build_commands(self, dist_name: str, unpacked_wheel: Any, build_lib: Any, tmp_dir: Any) -> Any:
        # The one place where the content of an editable wheel is at hand; setuptools is pinned in pyproject.toml.
        shutil.copy(PTH, str(unpacked_wheel))
        return super()._run_build_commands(dist_name, unpacked_wheel, build_lib, tmp_dir)


setup(cmdclass={"build_py": BuildWithPth, "editable_wheel": EditableWheelWithPth})
