"""The reference of the command line as Markdown: `python -m parley_cli.reference > docs/cli.md`."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import msgspec
import typer

from parley_cli.app import app
from parley_runtime import settings as settings_module

_WIDTH = 100

_HEAD = """# The command line

This page is generated: `python -m parley_cli.reference > docs/cli.md`. A test fails when it is out of date.

- **Where to and as whom.** `--server`, `--as`, `--tls` and `--tls-ca` may stand anywhere on the line, before
  a bare `--`. `PARLEY_SERVER` and `PARLEY_AS` say the same for a whole terminal.
- **Who is logged in** is kept in `~/.config/parley` (or `$XDG_CONFIG_HOME/parley`, or `$PARLEY_HOME`), one
  file per server and user, readable by its owner only. Several commands may use one log-in at once.
- **TARGET** is `@user`, `'#title'` in quotes (to a shell, a bare # begins a comment), or a channel id.
- **Errors** are one line on standard error: `parley: what happened. What to do.` Exit codes are listed below.
  `PARLEY_TRACEBACK=1` shows where a defect of the command itself lies.
- **Texts on a terminal** show control characters as visible signs, so that no message can steer the terminal
  or look like somebody else's line. `--json` gives every text exactly as it was sent.
- **Colours** are used on a terminal only, and not when `NO_COLOR` is set.
"""

_JSON = """## JSON

`--json` writes one object per line, in UTF-8. Fields may be added; none changes its meaning. Times are in
milliseconds since 1970-01-01 UTC.

`history` and `tail` write events. Every event has `kind`, `channel_id`, `seq` (its place in the channel),
`message_no` (messages up to it), `create_time_ms`, `actor_id` and `actor` (who caused it, by id and user
name), and:

| `kind` | further fields |
|---|---|
| `message` | `client_message_id`, `text`, `attributes`, `mentions` (user ids), `mention_all`, \
`reply_to_seq` and `thread_root_seq` (0: none), `edited`, `edit_time_ms`, `deleted` (then the text is \
empty), `pinned`, `reactions` (`emoji`, `count`, `own`), `reply_count` |
| `message_edited` | `target_seq` (which message), `text`, `attributes`, `mentions`, `mention_all`, \
`superseded` (the content was replaced or deleted since, and is empty) |
| `message_deleted` | `target_seq` |
| `reaction_changed` | `target_seq`, `emoji`, `added`, `count` (after it) |
| `pin_changed` | `target_seq`, `pinned` |
| `member_changed` | `user_id`, `user`, `change` (`added`, `left`, `removed`, `role_changed`), `role`, \
`invite_id` |
| `channel_changed` | `created`, `title`, `description`, `history_from_start`, `member_limit`, \
`slow_mode_seconds` |
| `ban_changed` | `user_id`, `user`, `banned` |
| `invite_changed` | `invite_id`, `revoked`, `expire_time_ms`, `use_limit` (0: any number) |
| `author_erased` | `user_id`, `user` (the id): all that this user wrote until then is deleted |
| `channel_deleted` | none: the last event of a group |
| `unknown` | none: the server is newer than this command |

`channels` writes `channel_id`, `label`, `kind`, `title`, `peer`, `member_count`, `head_seq`, `read_seq`,
`unread_count`, `mute_until_ms` (null: not muted) and `last_message` (an event, its text cut to 256
letters, or null). `send` writes `channel_id`, `seq`, `message_no`, `create_time_ms`, `client_message_id`
and `duplicate`; `edit`, `delete`, `react`, `unreact`, `pin` and `unpin` the same without `message_no`,
`seq` being the event of the change. `pins` and `thread` write messages.
"""

_SETTINGS_HEAD = """## Settings

`parley up` and `parley server` take settings from a TOML file (`--config`), then from the environment, then
from the command line; the later wins. The variable of `limits.text_code_points` is
`PARLEY_LIMITS__TEXT_CODE_POINTS`. Dotted names are tables: `text_code_points` stands below `[limits]`.
A rate is set whole, both its parts: `PARLEY_RATES__SEND__PER_MINUTE=600` with
`PARLEY_RATES__SEND__BURST=30`, or `[rates.send]` with `per_minute = 600` and `burst = 30`.

| setting | default | |
|---|---|---|
"""


def reference() -> str:
    """The whole page."""
    command = typer.main.get_command(app)
    parts = [_HEAD, *_help_of(command, "parley", None), _JSON, _SETTINGS_HEAD.rstrip()]
    return "\n".join(parts) + "\n" + "\n".join(_settings_rows(settings_module.Settings, "")) + "\n"


def _help_of(command: Any, name: str, parent: typer.Context | None) -> list[str]:
    context = typer.Context(
        command, info_name=name, parent=parent, terminal_width=_WIDTH, help_option_names=["-h", "--help"]
    )
    path = context.command_path
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    parts = [f"## {path}\n\n```text\n{text}\n```\n"]
    for below, subcommand in getattr(command, "commands", {}).items():
        parts += _help_of(subcommand, below, context)
    return parts


def _settings_rows(section: type[msgspec.Struct], prefix: str) -> list[str]:
    said = _attribute_docstrings(section)
    rows: list[str] = []
    for field in msgspec.structs.fields(section):
        default = field.default
        if isinstance(default, msgspec.Struct) and not _is_leaf(default):
            summary = (inspect.getdoc(type(default)) or "").partition("\n\n")[0]
            rows.append(f"| **{prefix}{field.name}** | | {_cell(summary)} |")
            rows += _settings_rows(type(default), f"{prefix}{field.name}.")
        else:
            rows.append(
                f"| `{prefix}{field.name}` | {_default(default)} | {_cell(said.get(field.name, ''))} |"
            )
    return rows


def _is_leaf(value: msgspec.Struct) -> bool:
    return isinstance(value, settings_module.RateSetting)


def _default(value: object) -> str:
    if isinstance(value, settings_module.RateSetting):
        return f"`{{per_minute = {value.per_minute:g}, burst = {value.burst}}}`"
    if isinstance(value, int):
        return f"{value:,}"
    return f"`{value}`" if value != "" else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _attribute_docstrings(section: type) -> dict[str, str]:
    """What stands under each attribute of a class: Python itself forgets it."""
    (tree,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for attribute, after in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(attribute, ast.AnnAssign)
            and isinstance(attribute.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[attribute.target.id] = after.value.value
    return found


if __name__ == "__main__":
    print(reference(), end="")
