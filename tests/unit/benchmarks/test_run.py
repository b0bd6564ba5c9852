"""The short form of `make bench`: all scenarios of a node run with tiny loads and leave a whole record."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from benchmarks.clients import Plan
from benchmarks.figures import FORMAT, Run
from benchmarks.machine import Cores
from benchmarks.parties import Generator, GeneratorFailed, Node, Round
from benchmarks.prepared import message_text, prepared_folder, user_ids
from benchmarks.report import document, summary

# Scenario g, the transports, needs Go: test_bench_transports.py.
COMMAND = (sys.executable, "benchmarks/run.py", "--quick", "--only", "a,b,c,d,e,f")
FIGURES = {
    "a": {"messages/s", "ack p50", "ack p95", "ack p99", "node CPU per message"},
    "b": {"deliveries/s", "deliveries per CPU second", "messages/s", "ack p50", "events per frame"},
    "c": {
        "RSS per session",
        "PSS per session",
        "RSS of the node",
        "CPU per session",
        "CPU to open a session",
    },
    "d": {"page p50", "page p95", "page p99", "node CPU per page", "page size"},
    "e": {"until all are live", "CPU per device", "bytes read per device", "read calls per device"},
    "f": {
        *("delivery p50", "delivery p99", "delivery max", "ack p50", "ack p99", "messages/s"),
        "node CPU per message",
    },
}
STALL_FIGURES = {
    *("messages/s", "ack p50", "ack p99", "events while stalled", "lags", "caught up after"),
    "events read, of as many sent",
}
BACK_FIGURES = {"until all are complete", "CPU per reader", "lags told"}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> bytes:
    """The record of one quick run."""
    folder = tmp_path_factory.mktemp("bench")
    path = folder / "record.json"
    done = subprocess.run(
        [*COMMAND, "--json", str(path), "--folder", str(folder)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(folder.iterdir()) == [path], "nothing but the record is left"
    return path.read_bytes()


@pytest.fixture(scope="module")
def run(record: bytes) -> Run:
    return msgspec.json.decode(record, type=Run)


def test_record_has_all_scenarios_with_their_figures(run: Run) -> None:
    assert run.format == FORMAT
    assert [scenario.letter for scenario in run.scenarios] == ["a", "b", "c", "d", "e", "f"]
    for scenario in run.scenarios:
        for case in scenario.cases:
            assert all(figure.rounds for figure in case.figures)
            if case.generator_cpu_share:
                wanted = FIGURES[scenario.letter]
                if case.name.startswith("1 reader stalls"):
                    wanted = STALL_FIGURES
                elif case.name.endswith("read again"):
                    wanted = BACK_FIGURES
                assert {figure.name for figure in case.figures} == wanted
                assert len(case.generator_cpu_share) == len(case.figures[0].rounds)
                assert all(0 < share < 1.05 for share in case.generator_cpu_share)
                assert all(figure.smallest > 0 for figure in case.figures if figure.unit != "KiB")


def test_record_says_on_what_it_was_measured(run: Run) -> None:
    assert run.quick and run.preliminary
    assert {"id", "dirty"} <= run.commit.keys()
    wanted = {
        "cores",
        "cpu",
        "memory_gib",
        "kernel",
        "python",
        "packages",
        "open_files_limit",
        "fdatasync_ms",
    }
    assert wanted <= run.host.keys()
    assert "rates.send" in run.settings


def test_record_names_no_folder_and_no_host(record: bytes, repository: Path) -> None:
    for secret in (str(repository), os.uname().nodename, str(Path.home()), "Bearer"):
        assert secret.encode() not in record


def test_targets_are_judged(run: Run) -> None:
    """On tiny loads none of the deliveries reach theirs: a verdict that is always "met" fails here."""
    verdicts = [target.met for scenario in run.scenarios for target in scenario.targets]
    assert len(verdicts) == 7
    assert "MISSED" in summary(run)
    assert "**MISSED**" in document(run, "")


def test_document_has_every_figure(run: Run) -> None:
    page = document(run, "## Notes\n")
    assert page.startswith("# Benchmarks\n") and page.endswith("## Notes\n")
    for scenario in run.scenarios:
        assert f"## {scenario.title}" in page
        for case in scenario.cases:
            assert f"| {case.name}" in page


async def test_a_missing_event_fails_the_round(tmp_path: Path) -> None:
    """A round waits for every delivery: here it is told of a device that is not there, so one is missing."""
    cores = Cores(frozenset(), frozenset())
    users = user_ids(2)
    async with prepared_folder(tmp_path / "data") as folder:
        (channel_id,) = await folder.direct_channels([(users[0], users[1])])
        device = folder.device(users[0], 0, channel_id)
    async with Node(tmp_path / "data", cores) as node:
        plan = Plan(node.address, "stream", [device], message_text(channel_id))
        async with Generator(plan, node, cores) as generator:
            whole = await generator.run(do="send", seconds=0.05, senders=1, receivers=1)
            assert whole.answer["events"] == whole.answer["sent"] > 0
            with pytest.raises(GeneratorFailed, match="an event is missing"):
                await generator.run(do="send", seconds=0.05, senders=1, receivers=2, limit_seconds=1.0)


async def _stall(
    data: Path, settings: dict[str, object], *plants: Path, limit_seconds: float = 20.0
) -> Round:
    """One reader stalls for a moment at 200 messages/s."""
    cores = Cores(frozenset(), frozenset())
    users = user_ids(2)
    async with prepared_folder(data) as folder:
        (channel_id,) = await folder.direct_channels([(users[0], users[1])])
        devices = [folder.device(users[0], 0, channel_id), folder.device(users[1], 0)]
    async with Node(data, cores, settings, plants) as node:
        async with Generator(Plan(node.address, "reader", devices, "short"), node, cores) as generator:
            return await generator.run(
                do="stall_one",
                filling_text="x" * 3000,
                filling_messages=10,
                per_second=200.0,
                warm_seconds=0.1,
                stall_seconds=1.0,
                afterwards_seconds=0.2,
                limit_seconds=limit_seconds,
            )


SMALL_OUTBOX: dict[str, object] = {"limits.outbox_events": 5}


async def test_a_stalled_reader_ends_complete(tmp_path: Path) -> None:
    one = await _stall(tmp_path / "data", SMALL_OUTBOX)
    assert one.answer["received"] == one.answer["sent"] + 10
    assert one.answer["missed_events"] > 5
    assert one.answer["lags"] >= 1


async def test_events_dropped_in_silence_fail_the_stall(tmp_path: Path, repository: Path) -> None:
    """The node drops what a slow reader's outbox cannot take and does not read it again: seen in its seqs."""
    plant = repository / "tests" / "planted" / "lag_without_catch_up.py"
    with pytest.raises(GeneratorFailed, match="what lies between is missing"):
        await _stall(tmp_path / "data", SMALL_OUTBOX, plant)


async def test_a_reader_that_never_lagged_fails_the_stall(tmp_path: Path) -> None:
    """A stall proves nothing when all of it fitted the queues: here they are too large to fill."""
    with pytest.raises(GeneratorFailed, match="did not end in time"):
        await _stall(tmp_path / "data", {"limits.outbox_events": 100_000}, limit_seconds=2.5)


async def test_ctrl_c_ends_all_processes_and_leaves_nothing(tmp_path: Path, repository: Path) -> None:
    bench = await asyncio.create_subprocess_exec(
        sys.executable,
        "benchmarks/run.py",
        "--only",
        "b",
        "--folder",
        str(tmp_path),
        cwd=repository,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert bench.stdout is not None
    async with asyncio.timeout(60):
        while b"1 sender" not in await bench.stdout.readline():
            pass
        children = psutil.Process(bench.pid).children(recursive=True)
        assert len(children) == 2
        bench.send_signal(signal.SIGINT)
        output, errors = await bench.communicate()
    assert bench.returncode == 130
    assert b"stopped" in errors and b"Traceback" not in output + errors
    assert not any(child.is_running() for child in children)
    assert os.listdir(tmp_path) == []


def test_too_few_open_files_is_said(tmp_path: Path, repository: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150))

    done = subprocess.run(
        [sys.executable, "benchmarks/run.py", "--quick", "--only", "c", "--folder", str(tmp_path)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limit,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("benchmarks: 20 sessions need 220 open files, and `ulimit -n` allows 150.")


def test_an_unknown_scenario_is_refused(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/run.py", "--only", "a,z"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "'z' is none of a, b, c, d" in done.stderr


def test_the_page_is_made_from_the_newest_record(repository: Path) -> None:
    records = sorted((repository / "benchmarks" / "results").glob("*.json"))
    page = repository / "docs" / "benchmarks.md"
    if not records:
        assert not page.exists(), "a page without a record: run `make bench`, then benchmarks/report.py"
        return
    notes = (repository / "benchmarks" / "notes.md").read_text(encoding="utf-8")
    made = document(msgspec.json.decode(records[-1].read_bytes(), type=Run), notes)
    assert page.read_text(encoding="utf-8") == made, "run `python benchmarks/report.py`"
