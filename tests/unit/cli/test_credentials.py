"""Stored log-ins: private, whole, and safe for several processes at once."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path

import pytest

from parley_cli.credentials import CredentialStore, LogIn, choose, config_folder, folded
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure

_SERVER = "127.0.0.1:50051"


def _log_in(username: str, tokens: str = "{}", server: str = _SERVER) -> LogIn:
    return LogIn(server=server, username=username, tokens_json=tokens)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path)
    for name in ("alice", "지민", "a" * 64, "𠮷" * 64, "x.y-z_1"):
        log_in = LogIn(_SERVER, name, '{"refresh":"r"}', tls=True, tls_ca="/x/ca.pem")
        store.save(log_in)
        assert store.load(_SERVER, name) == log_in
    assert len(store.log_ins(_SERVER)) == 5
    assert store.log_ins("127.0.0.1:50052") == []


def test_log_ins_of_two_sockets_are_kept_apart(tmp_path: Path) -> None:
    """Planted: the folder named by what can be read of the path; the one showed the log-ins of the other."""
    store = CredentialStore(tmp_path)
    store.save(_log_in("alice", server="unix:/run/a/b"))
    assert store.log_ins("unix:/run/a_b") == []
    assert [found.username for found in store.log_ins("unix:/run/a/b")] == ["alice"]


def test_a_name_is_found_in_any_case(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path)
    store.save(_log_in("Alice"))
    loaded = store.load(_SERVER, "ALICE")
    assert loaded is not None and loaded.username == "Alice"
    assert folded("ﬁN") == folded("Fin")


def test_files_are_private(tmp_path: Path) -> None:
    """Planted: writing the file with open() instead of mkstemp was caught here (mode 0644)."""
    home = tmp_path / "home"
    store = CredentialStore(home)
    with store.locked(_SERVER, "alice"):
        store.save(_log_in("alice"))
    for path in [home, *home.rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_removing_forgets_and_may_be_repeated(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path)
    store.save(_log_in("alice"))
    store.remove(_SERVER, "alice")
    store.remove(_SERVER, "alice")
    assert store.load(_SERVER, "alice") is None


def test_a_file_that_is_no_log_in_is_said(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path)
    store.save(_log_in("alice"))
    (path,) = tmp_path.rglob("*.json")
    for content in (
        "",
        "{",
        "[]",
        '{"version": 1}',
        '{"version": 99}',
        json.dumps({"version": 1, "server": 3}),
    ):
        path.write_text(content)
        with pytest.raises(CommandFailure) as caught:
            store.load(_SERVER, "alice")
        assert caught.value.exit_code == ExitCode.LOCAL_FILE
        assert str(path) in caught.value.what


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = CredentialStore(tmp_path / "file" / "home")
    with pytest.raises(CommandFailure) as caught:
        store.save(_log_in("alice"))
    assert caught.value.exit_code == ExitCode.LOCAL_FILE


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    assert config_folder({"PARLEY_HOME": "/p"}) == Path("/p")
    assert config_folder({"XDG_CONFIG_HOME": "/c"}) == Path("/c/parley")
    assert config_folder({"XDG_CONFIG_HOME": "relative"}) == Path("/home/u/.config/parley")
    assert config_folder({}) == Path("/home/u/.config/parley")


def test_the_log_in_to_use_is_never_guessed() -> None:
    alice, bob = _log_in("alice"), _log_in("Bob")
    assert choose([alice], _SERVER, None) == alice
    assert choose([alice, bob], _SERVER, "bob") == bob
    assert choose([alice, bob], _SERVER, "@BOB") == bob

    for log_ins, name, code in (
        ([], None, ExitCode.NOT_LOGGED_IN),
        ([alice], "carol", ExitCode.NOT_LOGGED_IN),
        ([alice, bob], None, ExitCode.USAGE),
    ):
        with pytest.raises(CommandFailure) as caught:
            choose(log_ins, _SERVER, name)
        assert caught.value.exit_code == code


def _count_up(folder: Path, times: int) -> None:
    store = CredentialStore(folder)
    for _ in range(times):
        with store.locked(_SERVER, "alice"):
            log_in = store.load(_SERVER, "alice")
            assert log_in is not None
            store.save(_log_in("alice", str(int(log_in.tokens_json) + 1)))


def _read_until_done(folder: Path, done_at: str) -> None:
    store = CredentialStore(folder)
    newest = -1
    while newest < int(done_at):
        log_in = store.load(_SERVER, "alice")
        assert log_in is not None
        assert int(log_in.tokens_json) >= newest
        newest = int(log_in.tokens_json)


def test_processes_that_renew_at_once_lose_no_renewal(tmp_path: Path) -> None:
    """Four processes read, change and write one log-in while a fifth reads it without the lock.

    Planted: leaving out the flock lost renewals; writing the file in place made the reader find half a file.
    """
    store = CredentialStore(tmp_path)
    store.save(_log_in("alice", "0"))
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=_count_up, args=(tmp_path, 50)) for _ in range(4)]
    reader = spawn.Process(target=_read_until_done, args=(tmp_path, "200"))
    for process in (*writers, reader):
        process.start()
    for process in (*writers, reader):
        process.join(60)
        if process.is_alive():
            process.kill()
            process.join()
        assert process.exitcode == 0
    final = store.load(_SERVER, "alice")
    assert final is not None and final.tokens_json == "200"
