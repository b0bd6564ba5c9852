"""Random walks of a MessageLog beside a list. A part of message_log_contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_server.ports.message_log import Committed, Conflict, LogPage, Row
from parley_server.testing.message_log_suite import MessageLogSuite, batch_id, row

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class LogModel:
    """What a log must be: a list. Used by the random walk below."""

    rows: list[Row] = field(default_factory=list)
    batches: list[bytes] = field(default_factory=list)

    def erase(self, erased: Sequence[Row]) -> None:
        """What `erase` must do."""
        for new in erased:
            if 1 <= new.seq <= len(self.rows):
                old = self.rows[new.seq - 1]
                if old.digest == new.digest and old.is_message == new.is_message:
                    self.rows[new.seq - 1] = new

    def page(
        self,
        from_seq: int,
        to_seq: int,
        limit: int,
        limit_bytes: int,
        newest_first: bool,
        only_messages: bool,
    ) -> LogPage:
        """The answer that `read` must give."""
        wanted = [
            known
            for known in self.rows
            if from_seq <= known.seq <= to_seq and (known.is_message or not only_messages)
        ]
        if newest_first:
            wanted.reverse()
        taken: list[Row] = []
        size_bytes = 0
        for known in wanted:
            size_bytes += len(known.event)
            if taken and (len(taken) == limit or size_bytes > limit_bytes):
                break
            taken.append(known)
        return LogPage(tuple(taken), len(self.rows), len(taken) < len(wanted))


_seqs = st.integers(-2, 40)
_reads = st.tuples(
    st.just("read"),
    st.sampled_from("ab"),
    _seqs,
    _seqs,
    st.integers(1, 12),
    st.integers(1, 60),
    st.booleans(),
    st.booleans(),
)
_appends = st.tuples(
    st.just("append"),
    st.sampled_from("ab"),
    st.integers(-2, 2),
    st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=5),
)
_fans = st.tuples(st.just("fan"), st.sampled_from("ab"), st.integers(0, 30))
_reopens = st.tuples(st.just("reopen"))
_picks = st.tuples(st.just("pick"), st.sampled_from("ab"), st.lists(_seqs, max_size=8))
_erasures = st.tuples(
    st.just("erase"),
    st.sampled_from("ab"),
    st.lists(st.tuples(_seqs, st.booleans(), st.booleans(), st.integers(0, 20)), max_size=4),
)


class MessageLogWalkContract(MessageLogSuite):
    """Any sequence of calls."""

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[
            HealthCheck.differing_executors,
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
        ],
    )
    @given(steps=st.lists(_appends | _reads | _fans | _picks | _erasures | _reopens, max_size=30))
    async def test_it_behaves_like_a_list(self, steps: Sequence[tuple[object, ...]]) -> None:
        """Any sequence of appends at right and wrong heads, reads, marks, erasures and restarts, against a
        list."""
        log = await self.make()
        try:
            models = {"a": LogModel(), "b": LogModel()}
            fanned = {"a": 0, "b": 0}
            for number, step in enumerate(steps):
                match step:
                    case ("append", str(channel), int(offset), list(shape)):
                        model = models[channel]
                        head = len(model.rows)
                        expected = max(0, head + offset)
                        batch = [
                            row(seq, is_message=is_message, event=b"%d" % number * length)
                            for seq, (is_message, length) in enumerate(shape, expected + 1)
                        ]
                        result = await log.append(channel, expected, batch, batch_id(number))
                        if expected == head:
                            assert result == Committed()
                            model.rows += batch
                            model.batches += [batch_id(number)] * len(batch)
                        else:
                            assert result == Conflict(head)
                    case (
                        "read",
                        str(channel),
                        int(low),
                        int(high),
                        int(limit),
                        int(size),
                        bool(back),
                        bool(only),
                    ):
                        page = await log.read(
                            channel,
                            low,
                            high,
                            limit=limit,
                            limit_bytes=size,
                            newest_first=back,
                            only_messages=only,
                        )
                        assert page == models[channel].page(low, high, limit, size, back, only)
                    case ("fan", str(channel), int(seq)):
                        mark = min(seq, len(models[channel].rows))
                        if mark:
                            await log.mark_fanned(channel, mark)
                            fanned[channel] = max(fanned[channel], mark)
                    case ("pick", str(channel), list(seqs)):
                        known = models[channel].rows
                        expected_rows = [old for old in known if old.seq in seqs]
                        assert await log.pick(channel, seqs) == tuple(expected_rows)
                    case ("erase", str(channel), list(erasures)):
                        erased = [
                            replace(
                                row(seq, is_message=is_message, event=b"e" * length),
                                digest=b"%032d" % seq if same else b"another",
                            )
                            for seq, is_message, same, length in erasures
                        ]
                        await log.erase(channel, erased)
                        models[channel].erase(erased)
                    case _:
                        log = await self.reopen(log)
            for channel, model in models.items():
                assert await log.head(channel) == len(model.rows)
                assert await log.fanned(channel) == fanned[channel]
                for seq, batch_of_seq in enumerate(model.batches, 1):
                    assert await log.batch_at(channel, seq) == batch_of_seq
        finally:
            await self.discard(log)
