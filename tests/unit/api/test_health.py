"""Health, with dependencies of the test's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2

from parley_server.api import health
from parley_server.api.health import HealthChecks

if TYPE_CHECKING:
    import pytest


async def served(checks: HealthChecks) -> dict[str, bool]:
    """Whether each service is SERVING, as anybody is told."""
    nothing: Any = None
    listed = await checks.servicer.List(nothing, nothing)
    return {
        name: answer.status == health_pb2.HealthCheckResponse.SERVING
        for name, answer in listed.statuses.items()
    }


async def test_a_dependency_that_hangs_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are asked nevertheless, and once it answers again it is healthy. Planted: the limit of time
    left out; the check went on for ever.
    """
    monkeypatch.setattr(health, "CHECK_LIMIT_SECONDS", 0.05)
    answers = asyncio.Event()
    answers.set()

    async def other() -> None:
        return

    checks = HealthChecks({"hangs": answers.wait, "other": other}, watches_limit=1)
    await checks.check()
    assert await served(checks) == {"": True, "hangs": True, "other": True}
    answers.clear()
    check = asyncio.create_task(checks.check())
    await asyncio.wait([check], timeout=5)
    assert check.done()
    assert await served(checks) == {"": False, "hangs": False, "other": True}
    answers.set()
    await checks.check()
    assert await served(checks) == {"": True, "hangs": True, "other": True}


async def test_the_log_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the error has no text of its own. Planted: its text alone; a dependency that hung was logged
    with an empty error.
    """
    monkeypatch.setattr(health, "CHECK_LIMIT_SECONDS", 0.02)

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def wordless() -> None:
        raise ConnectionError

    async def speaks() -> None:
        raise ConnectionError("nobody is there")

    checks = HealthChecks({"hangs": hangs, "wordless": wordless, "speaks": speaks}, watches_limit=1)
    await checks.check()
    logged = {
        fields["dependency"]: fields["error"]
        for fields in (vars(record)["fields"] for record in caplog.records)
    }
    assert logged == {
        "hangs": "no answer within 0.02 s",
        "wordless": "ConnectionError",
        "speaks": "nobody is there",
    }


async def test_checks_go_on_after_one_that_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the limit of time left out; nothing was asked again."""
    monkeypatch.setattr(health, "CHECK_LIMIT_SECONDS", 0.02)
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.01)
    asked, again = 0, asyncio.Event()

    async def ask() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            again.set()
            return
        await asyncio.Event().wait()

    checks = HealthChecks({"hangs": ask}, watches_limit=1)
    checking = asyncio.create_task(checks.keep_checking())
    try:
        await asyncio.wait_for(again.wait(), 5)
    finally:
        checking.cancel()
        await asyncio.wait([checking])
