"""Python, and the packages that are asked for."""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import stablesweep
from stablesweep.findings import Finding
from stablesweep.node_view import installed_version

SHOWN = ("ray", "torch")
"""What gets a line of its own; the others share one."""
AGAIN = "install stablesweep again into a fresh virtual environment"


def installation() -> Iterator[Finding]:
    """Python's version and those of all packages beside what ``pyproject.toml`` asks for."""
    yield Finding(name="stablesweep", ok=True, found=stablesweep.__version__)
    try:
        metadata = importlib.metadata.metadata("stablesweep")
    except importlib.metadata.PackageNotFoundError:
        found = f"not installed, but read from {Path(stablesweep.__file__).parent}"
        yield Finding(name="packages", ok=None, found=found, way_out=AGAIN)
        return
    yield python_finding(platform.python_version(), metadata["Requires-Python"] or "")
    asked = [Requirement(text) for text in importlib.metadata.requires("stablesweep") or ()]
    needed = {each.name: each.specifier for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})}
    versions = {name: installed_version(name) for name in needed}
    for name in SHOWN:
        yield package_finding(name, versions[name], needed[name])
    yield from _others({name: needed[name] for name in needed if name not in SHOWN}, versions)
    yield from _hidden(list(needed))


def python_finding(version: str, asked: str) -> Finding:
    """Python's version beside ``requires-python``."""
    if SpecifierSet(asked).contains(version, prereleases=True):
        return Finding(name="python", ok=True, found=version)
    way_out = f"install Python {asked} and make the virtual environment with it"
    return Finding(name="python", ok=False, found=version, way_out=way_out)


def package_finding(name: str, version: str, asked: SpecifierSet) -> Finding:
    """One package's version beside the one that is asked for; the version ``none``: it is not installed."""
    if version == "none":
        way_out = f"pip install '{name}{asked}'"
        return Finding(name=name, ok=False, found="not installed", way_out=way_out)
    if not asked.contains(version, prereleases=True):
        return Finding(name=name, ok=False, found=version, way_out=f"pip install '{name}{asked}'")
    return Finding(name=name, ok=True, found=version)


def _others(needed: dict[str, SpecifierSet], versions: dict[str, str]) -> Iterator[Finding]:
    findings = [package_finding(name, versions[name], asked) for name, asked in needed.items()]
    faults = [finding for finding in findings if not finding.ok]
    yield from faults
    if not faults:
        shown = ", ".join(f"{name} {versions[name]}" for name in ("timm", "optuna", "mlflow", "pyarrow"))
        yield Finding(name="packages", ok=True, found=f"{shown} and {len(findings) - 4} more, as asked for")


def _hidden(packages: list[str]) -> Iterator[Finding]:
    """Packages of which Python finds another folder first, such as the user's own folder ``ray``."""
    for package in packages:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None or installed_version(package) == "none":
            continue
        installed = Path(str(importlib.metadata.distribution(package).locate_file("")))
        if (installed / package).is_dir() and not Path(found.origin).is_relative_to(installed):
            way_out = "rename that file or folder, or run from another one"
            yield Finding(name=package, ok=False, found=f"Python finds {found.origin} first", way_out=way_out)
