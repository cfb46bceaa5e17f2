"""Units of systemd, read as systemd does, so that a test can run their commands where no systemd runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from tests.platforms import ROOT

UNITS = ROOT / "scripts" / "systemd"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: its lines, in order, without comments and continuations."""

    name: str
    lines: tuple[tuple[str, str], ...]

    def all(self, key: str) -> list[str]:
        """Return the values of all lines with that key."""
        return [value for name, value in self.lines if name == key]

    def one(self, key: str) -> str:
        """Return the value of the only line with that key."""
        (value,) = self.all(key)
        return value

    def environment(self, files: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of the service: its own, then those of its environment files, which win.

        Args:
            files: path of each environment file -> its text.
        """
        own = dict(word.split("=", 1) for line in self.all("Environment") for word in shlex.split(line))
        for path in self.all("EnvironmentFile"):
            own |= parse_environment(files[path.removeprefix("-")])
        return own

    def command(self, environment: Mapping[str, str]) -> list[str]:
        """Return the arguments of ExecStart."""

        def replace(match: re.Match[str]) -> str:
            return "$" if match[0] == "$$" else environment.get(match[1], "")

        return [re.sub(r"\$\$|\$\{(\w+)\}", replace, word) for word in shlex.split(self.one("ExecStart"))]

    def script(self, files: Mapping[str, str], extra: Mapping[str, str] | None = None) -> str:
        """Return a shell script that runs the service as Restart=always does: again, RestartSec after each end.

        Args:
            files: path of each environment file -> its text.
            extra: variables that the test adds, such as the place of the sources.
        """
        assert self.one("Restart") == "always"
        variables = {**(extra or {}), **self.environment(files)}
        exports = "; ".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
        command = shlex.join(self.command(variables))
        folders = " ".join(f"/var/lib/{name}" for name in self.one("StateDirectory").split())
        mkdir = f"mkdir -p -m {self.one('StateDirectoryMode')} {folders}"
        limits = f"ulimit -n {self.one('LimitNOFILE')} 2> /dev/null || true"
        again = f'while true; do {command}; echo "{self.name} ended with $?"; sleep {self.one("RestartSec")}; done'
        return f"{exports}; {mkdir}; {limits}; {again}"


def read_unit(name: str) -> Unit:
    """Return a unit of the project by the name of its file."""
    text = (UNITS / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.split("=", 1) for line in lines if line and line[0] not in "#;[")
    return Unit(name, tuple((key.strip(), value.strip()) for key, value in pairs))


def example(name: str, **values: str) -> str:
    """Return an example of an environment file with other values.

    Args:
        name: its file name.
        values: what an operator fills in; a line that is a comment in the example is not.
    """
    text = (UNITS / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^#?{key}=.*$", lambda _, line=f"{key}={value}": line, text)
        assert count == 1, f"{name} has no line {key}="
    return text


def parse_environment(text: str) -> dict[str, str]:
    """Return the variables of an environment file."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and line[0] not in "#;")
