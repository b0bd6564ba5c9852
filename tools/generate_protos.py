"""Generate the Python stubs of the contract: proto/parley/** into sdk/parley/**.

Every .proto file becomes messages (*_pb2.py), grpcio stubs (*_pb2_grpc.py), their types (*.pyi) and
grpclib stubs (*_grpc.py). The output is protoc's, unmodified. protoc writes no __init__.py files;
this program adds them below sdk/parley, so that tools see packages, but never writes
sdk/parley/__init__.py, which is the SDK's own.

With --check nothing is written: the exit code is 1 if the committed stubs differ from what the
contract gives, and the differing files are named.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO_FOLDER = ROOT / "proto"
THIRD_PARTY_FOLDER = ROOT / "third_party"
SDK_FOLDER = ROOT / "sdk"
STUB_PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_grpc.py", "*_grpc.pyi")


class GenerationError(Exception):
    """The stubs cannot be generated; the message says what to do."""


def contract_files() -> list[Path]:
    """Return the .proto files of the contract, relative to proto/, in a stable order."""
    files = sorted(path.relative_to(PROTO_FOLDER) for path in (PROTO_FOLDER / "parley").rglob("*.proto"))
    if not files:
        raise GenerationError("no .proto files in proto/parley")
    for file in files:
        # parley/<area>/v<number>/<noun>.proto: the package is the folder, and no stub lies in parley/ itself.
        if len(file.parts) != 4:
            raise GenerationError(f"proto/{file}: move it to proto/parley/<area>/v<number>/")
    return files


def plugin_option(name: str) -> str:
    """Return protoc's option for the plugin that is installed beside this interpreter."""
    program = Path(sys.executable).parent / f"protoc-gen-{name}"
    if not program.exists():
        raise GenerationError(f"{program.name} is not installed beside {sys.executable}: run `make deps`")
    return f"--plugin=protoc-gen-{name}={program}"


def generate(output_folder: Path) -> None:
    """Write the stubs and the package files of the whole contract below `output_folder`.

    Raises GenerationError if protoc refuses the contract; protoc's own words are on stderr.
    """
    files = contract_files()
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"--proto_path={PROTO_FOLDER}",
        f"--proto_path={THIRD_PARTY_FOLDER}",
        *(plugin_option(name) for name in ("mypy", "mypy_grpc", "python_grpc")),
        f"--python_out={output_folder}",
        f"--grpc_python_out={output_folder}",
        f"--mypy_out=quiet:{output_folder}",
        f"--mypy_grpc_out=quiet:{output_folder}",
        f"--python_grpc_out={output_folder}",
        *(str(file) for file in files),
    ]
    if subprocess.run(command, check=False).returncode != 0:
        raise GenerationError("protoc refused the contract (see above)")
    for version_folder in {file.parent for file in files}:
        area_folder = version_folder.parent
        area, version = area_folder.name, version_folder.name
        write_package(output_folder / area_folder, f"Generated stubs of the contract area parley.{area}.")
        write_package(
            output_folder / version_folder,
            f"Generated stubs of the contract package parley.{area}.{version}.",
        )


def write_package(folder: Path, docstring: str) -> None:
    (folder / "__init__.py").write_text(f'"""{docstring}"""\n', encoding="utf-8")


def generated_files(folder: Path) -> dict[Path, bytes]:
    """Return content by path, relative to `folder`, of all that this program owns there."""
    found: dict[Path, bytes] = {}
    for pattern in STUB_PATTERNS:
        for path in folder.glob(f"parley/*/v*/{pattern}"):
            found[path.relative_to(folder)] = path.read_bytes()
    for pattern in ("parley/*/__init__.py", "parley/*/v*/__init__.py"):
        for path in folder.glob(pattern):
            # Any other package below parley/ would be the SDK's own.
            if path.read_bytes().startswith(b'"""Generated stubs of the contract '):
                found[path.relative_to(folder)] = path.read_bytes()
    return found


def differences(wanted: dict[Path, bytes], present: dict[Path, bytes]) -> list[str]:
    """Return one line per file in which `present` differs from `wanted`."""
    lines = []
    for path in sorted(wanted.keys() | present.keys()):
        if path not in present:
            lines.append(f"missing: sdk/{path}")
        elif path not in wanted:
            lines.append(f"left over: sdk/{path}")
        elif wanted[path] != present[path]:
            lines.append(f"out of date: sdk/{path}")
    return lines


def write(wanted: dict[Path, bytes], present: dict[Path, bytes]) -> None:
    """Make the files in sdk/ equal to `wanted`; files that are already right keep their times."""
    for path in present.keys() - wanted.keys():
        target = SDK_FOLDER / path
        target.unlink()
        if not any(target.parent.iterdir()):
            target.parent.rmdir()
    for path, content in wanted.items():
        if present.get(path) != content:
            target = SDK_FOLDER / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail if sdk/ is out of date")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="parley-stubs-") as temporary:
            generate(Path(temporary))
            wanted = generated_files(Path(temporary))
    except GenerationError as error:
        print(f"generate_protos: {error}", file=sys.stderr)
        return 1
    present = generated_files(SDK_FOLDER)
    changes = differences(wanted, present)
    if not arguments.check:
        write(wanted, present)
        print(f"{len(wanted)} generated files in sdk/parley, {len(changes)} changed")
        return 0
    if changes:
        print("\n".join(changes), file=sys.stderr)
        print(
            "The stubs in sdk/ do not match proto/: run `make proto` and commit the result.", file=sys.stderr
        )
        return 1
    print(f"{len(wanted)} generated files are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
