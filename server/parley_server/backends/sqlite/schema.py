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
    # What became of messages, and what rules a channel. A message has a row in `message_state` from the first
    # event about it on, so that one look there tells that a page has none. Its `place` is the log's.
    #
    # Former members are asked for too, so that `member_of` covers them now.
    """
    ALTER TABLE projected_channel ADD COLUMN description TEXT NOT NULL DEFAULT '';
    ALTER TABLE projected_channel ADD COLUMN slow_mode_seconds INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE projected_channel ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
    DROP INDEX member_of;
    CREATE INDEX member_of ON member (user_id, channel, role);

    CREATE TABLE message_state (
        place INTEGER PRIMARY KEY,
        edit_seq INTEGER NOT NULL,
        edit_time_ms INTEGER NOT NULL,
        delete_seq INTEGER NOT NULL,
        pin_seq INTEGER NOT NULL,
        pin_author_id TEXT NOT NULL,
        reply_count INTEGER NOT NULL,
        last_reply_seq INTEGER NOT NULL
    );
    CREATE INDEX message_pinned ON message_state (place) WHERE pin_seq > 0;
    CREATE TABLE message_edit (
        place INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (place, seq)
    ) WITHOUT ROWID;
    CREATE TABLE message_reply (
        place INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (place, seq)
    ) WITHOUT ROWID;
    CREATE TABLE message_emoji (
        place INTEGER NOT NULL,
        emoji TEXT NOT NULL,
        count INTEGER NOT NULL,
        first_seq INTEGER NOT NULL,
        PRIMARY KEY (place, emoji)
    ) WITHOUT ROWID;
    CREATE TABLE message_reaction (
        place INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        emoji TEXT NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (place, user_id, emoji)
    ) WITHOUT ROWID;
    CREATE INDEX message_reaction_by_seq ON message_reaction (place, emoji, seq);

    CREATE TABLE invite (
        channel INTEGER NOT NULL,
        invite_id TEXT NOT NULL,
        creator_id TEXT NOT NULL,
        create_time_ms INTEGER NOT NULL,
        expire_time_ms INTEGER NOT NULL,
        use_limit INTEGER NOT NULL,
        uses INTEGER NOT NULL,
        PRIMARY KEY (channel, invite_id)
    ) WITHOUT ROWID;
    CREATE TABLE ban (
        channel INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        create_time_ms INTEGER NOT NULL,
        PRIMARY KEY (channel, user_id)
    ) WITHOUT ROWID;
    CREATE TABLE erased_author (
        channel INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (channel, user_id)
    ) WITHOUT ROWID;
    CREATE TABLE erasure_due (
        channel_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (channel_id, seq)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE mute (
        user_id TEXT NOT NULL,
        channel INTEGER NOT NULL,
        until_ms INTEGER NOT NULL,
        PRIMARY KEY (user_id, channel)
    ) WITHOUT ROWID;
    """,
)
"""Step n brings a file from version n to version n + 1. A step that was released is never edited."""

PROJECTED_TABLES: Final[tuple[str, ...]] = (
    "projected_head",
    "projected_channel",
    "member",
    "client_id",
    "message_state",
    "message_edit",
    "message_reply",
    "message_emoji",
    "message_reaction",
    "invite",
    "ban",
    "erased_author",
    "erasure_due",
)
"""What is derived from the logs and can be made again from them."""

VERSION: Final = len(MIGRATIONS)
