"""Check the import rules of pyproject.toml with import-linter.

import-linter stops at a contract that names a module which does not exist. A rule is written down
before the module it is about, so this program leaves out what is not there yet and says so: a
misspelt name shows up in that list.
"""

from __future__ import annotations

import argparse
import configparser
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = ("sdk", "wire", "runtime", "server", "cli")
MODULE_FIELDS = ("source_modules", "forbidden_modules", "protected_modules", "allowed_importers")


def exists(module: str, root_packages: list[str]) -> bool:
    """Say whether a module of ours is there; one of somebody else's always counts as there."""
    parts = module.split(".")
    if parts[0] not in root_packages and not parts[0].startswith("parley"):
        return True
    return any(
        path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
        for path in (ROOT.joinpath(root, *parts) for root in SOURCE_ROOTS)
    )


def present_configuration(settings: dict[str, Any]) -> tuple[configparser.ConfigParser, list[str]]:
    """Return import-linter's configuration without what is not there, and a line for each omission."""
    omitted: list[str] = []
    declared = settings["root_packages"]
    packages = [package for package in declared if exists(package, declared)]
    omitted += [f"package {package}" for package in declared if package not in packages]
    configuration = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    configuration["importlinter"] = {
        "root_packages": as_text(packages),
        "include_external_packages": as_text(settings["include_external_packages"]),
    }
    for contract in settings["contracts"]:
        kept = dict(contract)
        for field in MODULE_FIELDS & kept.keys():
            kept[field] = [module for module in kept[field] if exists(module, declared)]
            omitted += [
                f"{module} in {contract['id']}" for module in contract[field] if module not in kept[field]
            ]
        # A rule without a subject holds. One without allowed importers is meant: then nobody is allowed.
        if all(kept[field] for field in MODULE_FIELDS[:3] if field in kept):
            configuration[f"importlinter:contract:{kept.pop('id')}"] = {
                key: as_text(value) for key, value in kept.items()
            }
    return configuration, omitted


def as_text(value: str | bool | list[str]) -> str:
    return "\n" + "\n".join(value) if isinstance(value, list) else str(value)


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    configuration, omitted = present_configuration(settings)
    for line in omitted:
        print(f"not there yet, not checked: {line}")
    with tempfile.TemporaryDirectory(prefix="parley-imports-") as temporary:
        file = Path(temporary) / "importlinter.ini"
        with file.open("w", encoding="utf-8") as stream:
            configuration.write(stream)
        program = Path(sys.executable).parent / "lint-imports"
        return subprocess.run(
            [program, "--no-logo", "--config", str(file), "--cache-dir", str(ROOT / ".import_linter_cache")],
            cwd=ROOT,
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
