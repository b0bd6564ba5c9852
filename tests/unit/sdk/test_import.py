"""What `import parley` loads, and what it offers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import parley

SDK_FOLDER = Path(parley.__file__).parent
AREAS = {folder.parent.name for folder in SDK_FOLDER.glob("*/v1")}


def _in_a_fresh_interpreter(program: str) -> list[str]:
    """Run a program that prints a JSON list."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(done.stdout)
    assert isinstance(answer, list)
    return answer


def test_importing_generated_code_loads_nothing_of_the_client() -> None:
    """A node imports stubs only. Planted: `from parley._client import connect` at the top of the package."""
    loaded = _in_a_fresh_interpreter(
        "import json, sys, parley.chat.v1.chat_service_pb2, parley.chat.v1.chat_service_pb2_grpc;"
        "print(json.dumps([name for name in sys.modules if name.startswith('parley.')]))"
    )
    assert "parley.chat.v1.chat_service_pb2" in loaded
    assert [name for name in loaded if name.startswith("parley._")] == []


def test_a_client_loads_no_other_parley_package() -> None:
    """A bare install has three dependencies. Planted: an import of parley_runtime in _errors."""
    loaded = _in_a_fresh_interpreter(
        "import json, sys, parley; [getattr(parley, name) for name in parley.__all__];"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    ours = {"parley_runtime", "parley_server", "parley_cli"}
    servers = {"msgspec", "sqlalchemy", "apsw", "jwt", "uuid_utils", "uvloop", "rich", "typer"}
    assert not (ours | servers) & set(loaded)


def test_nothing_public_is_named_like_an_area_of_the_contract() -> None:
    """Importing parley.chat.v1 would overwrite such a name. Planted: "channel" added to the names."""
    assert {"admin", "auth", "channel", "chat", "error", "user"} <= AREAS
    assert not AREAS & set(parley.__all__)
    hand_written = {path.stem for path in SDK_FOLDER.glob("*.py")} - {"__init__"}
    assert [name for name in hand_written if not name.startswith("_")] == ["testing"]
    assert "testing" not in AREAS


def test_what_is_typed_is_what_is_loaded() -> None:
    """Checkers read one list, the interpreter two. Planted: a name left out of each of the three."""
    tree = ast.parse((SDK_FOLDER / "__init__.py").read_text())
    typed = {
        (str(node.module).removeprefix("parley."), alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {(home, name) for home, names in parley._HOMES.items() for name in names}
    assert typed == homes
    assert sorted(name for _, name in homes) == sorted(parley.__all__)
    for name in parley.__all__:
        assert getattr(parley, name) is not None
        assert name in dir(parley)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    """As for every module. Planted: KeyError let through."""
    with pytest.raises(AttributeError, match="has no attribute 'conect'"):
        parley.conect  # type: ignore[attr-defined] # noqa: B018
