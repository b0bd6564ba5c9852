"""Have outside judges look at parley_wire: h2spec (HTTP/2) and connectrpc's conformance runner (gRPC).

Both are built with Go through its module proxy. tools/wire_differences.txt lists what is known to differ, at
most ten lines; a line that no longer differs fails the run, as does anything that is not listed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import grpc
import uvloop

import parley_wire

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / ".tools" / "bin"
DIFFERENCES = Path(__file__).with_name("wire_differences.txt")
DIFFERENCES_LIMIT = 10
H2SPEC = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
CONFORMANCE_MODULE = "connectrpc.com/conformance@v1.0.7"
CONFORMANCE = "connectrpc.com/conformance/cmd/connectconformance@v1.0.7"
CONFIGURATION = """\
features:
  versions: [HTTP_VERSION_2]
  protocols: [PROTOCOL_GRPC]
  codecs: [CODEC_PROTO]
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP, COMPRESSION_DEFLATE]
  streamTypes:
    - STREAM_TYPE_UNARY
    - STREAM_TYPE_CLIENT_STREAM
    - STREAM_TYPE_SERVER_STREAM
    - STREAM_TYPE_HALF_DUPLEX_BIDI_STREAM
    - STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM
  supportsH2c: true
  supportsTls: true
  supportsTlsClientCerts: true
  supportsMessageReceiveLimit: true
"""


def install(program: str, module: str) -> Path:
    """The program in .tools/bin, built if it is not there. Exits with 1 without Go."""
    path = PROGRAMS / program
    if not path.exists():
        if shutil.which("go") is None:
            sys.exit(f"{program}: no Go toolchain here: install Go 1.25 or later")
        print(f"Building {program} into .tools/bin (a minute or two, once)")
        subprocess.run(["go", "install", module], env={**os.environ, "GOBIN": str(PROGRAMS)}, check=True)
    return path


def known_differences() -> dict[str, str]:
    """Test → reason. Exits with 1 when there are too many, or one has no reason."""
    known: dict[str, str] = {}
    for line in DIFFERENCES.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            test, _, reason = line.partition(" | ")
            if reason.count(" | ") < 1:
                sys.exit(f"{DIFFERENCES.name}: `test | section | reason`, not {line!r}")
            known[test] = reason
    if len(known) > DIFFERENCES_LIMIT:
        sys.exit(f"{DIFFERENCES.name}: {len(known)} lines; at most {DIFFERENCES_LIMIT}")
    return known


def judge(name: str, passed: int, failed: list[str], known: dict[str, str]) -> bool:
    """Print the counts. True if they are as expected."""
    unexpected = [test for test in failed if test not in known]
    print(f"{name}: {passed + len(failed)} tests, {passed} passed, {len(failed)} failed")
    for test in failed:
        print(f"  {'FAILED' if test in unexpected else 'known'}: {test}")
    return not unexpected


async def h2spec(known: dict[str, str]) -> tuple[bool, list[str]]:
    """Run h2spec against a server in this process."""
    program = install("h2spec", H2SPEC)
    server = parley_wire.Server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with tempfile.TemporaryDirectory(prefix="parley-h2spec-") as folder:
        report = Path(folder) / "report.xml"
        process = await asyncio.create_subprocess_exec(
            *(str(program), "-h", "127.0.0.1", "-p", str(port), "-o", "5", "-j", str(report)),
            stdout=subprocess.DEVNULL,
        )
        await process.wait()
        tree = ElementTree.parse(report)  # h2spec's own report, not a stranger's
    await server.stop(0)
    failed: list[str] = []
    passed = 0
    for case in tree.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"h2spec {case.get('package')}: {case.get('classname')}")
        elif case.find("skipped") is None:
            passed += 1
    return judge("h2spec", passed, failed, known), failed


def stubs(folder: Path) -> None:
    """Generate the runner's service from the protos in its Go module."""
    found = subprocess.run(
        ["go", "mod", "download", "-json", CONFORMANCE_MODULE],
        capture_output=True,
        text=True,
        check=True,
    )
    source = next(line for line in found.stdout.splitlines() if '"Dir"' in line).split('"')[3]
    proto = Path(source) / "proto"
    files = sorted((proto / "connectrpc" / "conformance" / "v1").glob("*.proto"))
    grpc_tools = importlib.util.find_spec("grpc_tools")
    assert grpc_tools is not None and grpc_tools.origin is not None
    include = Path(grpc_tools.origin).parent / "_proto"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}", f"-I{include}"]
    subprocess.run([*command, f"--python_out={folder}", *map(str, files)], check=True)


def connect_conformance(known: dict[str, str]) -> tuple[bool, list[str]]:
    """Run connectrpc's runner against wire_conformance_server.py."""
    program = install("connectconformance", CONFORMANCE)
    with tempfile.TemporaryDirectory(prefix="parley-conformance-") as name:
        folder = Path(name)
        stubs(folder)
        configuration = folder / "config.yaml"
        configuration.write_text(CONFIGURATION, encoding="utf-8")
        server = Path(__file__).with_name("wire_conformance_server.py")
        finished = subprocess.run(
            [program, "--mode", "server", "--conf", configuration, "--", sys.executable, str(server)],
            env={**os.environ, "PARLEY_CONFORMANCE_STUBS": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    failed = [
        f"connectconformance {line.removeprefix('FAILED: ').rstrip(':')}"
        for line in finished.stdout.splitlines()
        if line.startswith("FAILED: ")
    ]
    counts = [line for line in finished.stdout.splitlines() if line.startswith("Total cases:")]
    if not counts:
        print(finished.stdout[-4000:])
        return False, failed
    total = int(counts[0].split(":")[1].split()[0])
    good = judge("connectconformance (gRPC)", total - len(failed), failed, known)
    if not good:
        print(finished.stdout[-6000:])
    return good, failed


def main() -> int:
    """Run both; 0 if nothing differs but what is known to."""
    print(f"grpcio {grpc.__version__} is the host of the servicers")
    known = known_differences()
    first, failed = uvloop.run(h2spec(known))
    second, more = connect_conformance(known)
    stale = sorted(set(known) - set(failed) - set(more))
    for test in stale:
        print(f"{DIFFERENCES.name}: no longer differs, remove it: {test}")
    return 0 if first and second and not stale else 1


if __name__ == "__main__":
    sys.exit(main())
