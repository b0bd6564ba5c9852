"""The tables of `chat.db`. Queries live in their port's file; here is what they share."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x5041524C
"""Marks the file as ours ("PARL"), so that another program's database is not taken for one."""

MIGRATIONS: Final[tuple[str, ...]] = (
    # A channel is a small number inside this file: rows stay compact, keys never change and are never
    # deleted.
    #
    # The log is two tables, one for messages and one for all other events, so that a reader of messages
    # never walks over other events and no index has to be written beside the rows. `place` is channel << 32
    # | seq: one B-tree, each channel's rows side by side, events up to 4 KB inside the leaf (a WITHOUT
    # ROWID table with two key columns keeps 1 KB and was 15-20 % slower).
    #
    # What changes with each message stands apart from what hardly ever does (`log_head`, `projected_head`),
    # in rows of some 30 bytes: hundreds of busy channels share a page, and a batch writes few pages.
    """
    CREATE TABLE channel_key (
        key INTEGER PRIMARY KEY,
        channel_id TEXT NOT NULL UNIQUE
    );

    CREATE TABLE log_message (
        place INTEGER PRIMARY KEY,
        digest BLOB NOT NULL,
        batch_id BLOB NOT NULL,
        event BLOB NOT NULL
    );
    CREATE TABLE log_other (
        place INTEGER PRIMARY KEY,
        digest BLOB NOT NULL,
        batch_id BLOB NOT NULL,
        event BLOB NOT NULL
    );
    CREATE TABLE log_head (
        channel INTEGER PRIMARY KEY,
        head INTEGER NOT NULL,
        fanned INTEGER NOT NULL
    );
    CREATE TABLE active_channel (
        slot INTEGER NOT NULL,
        minute INTEGER NOT NULL,
        channel INTEGER NOT NULL,
        PRIMARY KEY (slot, minute, channel)
    ) WITHOUT ROWID;

    CREATE TABLE projected_head (
        channel INTEGER PRIMARY KEY,
        watermark INTEGER NOT NULL,
        message_no INTEGER NOT NULL,
        last_activity_ms INTEGER NOT NULL,
        last_message_seq INTEGER NOT NULL,
        member_count INTEGER NOT NULL
    );
    CREATE TABLE projected_channel (
        channel INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        title TEXT NOT NULL,
        history_visibility INTEGER NOT NULL,
        member_limit INTEGER NOT NULL,
        creator_id TEXT NOT NULL,
        create_time_ms INTEGER NOT NULL
    );
    CREATE TABLE member (
        channel INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        role INTEGER,
        joined_seq INTEGER NOT NULL,
        joined_message_no INTEGER NOT NULL,
        windows TEXT NOT NULL,
        PRIMARY KEY (channel, user_id)
    ) WITHOUT ROWID;
    CREATE INDEX member_present ON member (channel, user_id) WHERE role IS NOT NULL;
    CREATE INDEX member_of ON member (user_id, channel) WHERE role IS NOT NULL;
    CREATE TABLE client_id (
        key BLOB NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (key, seq)
    ) WITHOUT ROWID;

    CREATE TABLE read_mark (
        user_id TEXT NOT NULL,
        channel INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        message_no INTEGER NOT NULL,
        PRIMARY KEY (user_id, channel)
    ) WITHOUT ROWID;
    CREATE TABLE device_cursor (
        user_id TEXT NOT NULL,
        device_id TEXT NOT NULL,
        epoch TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (user_id, device_id)
    ) WITHOUT ROWID;
    """,
)
"""Step n brings a file from version n to version n + 1. A step that was released is never edited."""

VERSION: Final = len(MIGRATIONS)
