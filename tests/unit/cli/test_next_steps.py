"""What `parley up` says can be typed as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_cli.next_steps import client_address, next_steps, program_name

if TYPE_CHECKING:
    from pathlib import Path


def test_the_default_address_needs_no_option() -> None:
    lines = next_steps(program="parley", address="127.0.0.1:50051", data="./parley-data", tls=False)
    assert "  parley signup alice" in lines
    assert "  parley --as bob send @alice 'Hello!'" in lines


def test_another_address_is_part_of_every_command() -> None:
    """Planted: leaving --server out of one line was caught here."""
    lines = next_steps(program="parley", address="0.0.0.0:7", data="d", tls=True)
    commands = [line for line in lines if line.startswith("  ")]
    assert len(commands) == 4
    assert all(line.startswith("  parley --server 127.0.0.1:7 --tls ") for line in commands)


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:1", "[::1]:1"),
        ("chat:1", "chat:1"),
        ("unix:/run/x:1", "unix:/run/x:1"),
        ("unix:///run/x", "unix:/run/x"),
    ],
)
def test_an_any_address_is_reached_by_loopback(bound: str, reached: str) -> None:
    assert client_address(bound) == reached


def test_the_path_of_a_socket_survives_a_shell_and_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: the address as bound; found by the folder. Planted: no quoting; found by the blank."""
    monkeypatch.chdir(tmp_path)
    lines = next_steps(program="parley", address="unix:a b", data="d", tls=False)
    assert f"  parley --server 'unix:{tmp_path / 'a b'}' signup alice" in lines


def test_the_program_is_named_as_a_person_here_can_call_it(tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    script = folder / ".venv" / "bin" / "parley"
    script.parent.mkdir(parents=True)
    script.write_text("")
    script.chmod(0o700)

    assert program_name(str(script), str(script.parent), folder, "python") == "parley"
    assert program_name(str(script), "/nowhere", folder, "python") == ".venv/bin/parley"
    assert program_name("parley", "/nowhere", script.parent, "python") == "./parley"
    assert program_name(str(script), "/nowhere", tmp_path / "other", "python") == f"'{script}'"
    assert program_name("/x/parley_cli/__main__.py", None, folder, "/usr/bin/python") == (
        "/usr/bin/python -m parley_cli"
    )
