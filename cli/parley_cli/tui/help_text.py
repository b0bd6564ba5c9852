"""The help screen."""

from __future__ import annotations

HELP = """\
Everywhere
  F1            this help
  F2            conversations (again: hide them in a narrow window)
  F3            members: show, hide
  F4            pinned messages
  F5            new: direct chat, group, join by an invite's code
  F6            invite somebody to this group
  F7            accounts: switch to another log-in
  F8            this group: add members, leave
  Ctrl-Up/Down  the conversation above, below
  Alt-N         the next conversation with unread messages
  Tab           conversations, messages, composer, members
  Esc           one step back
  Ctrl-Q Ctrl-C leave; unsent messages are kept and sent next time

Writing
  Enter         send
  Ctrl-J        a new line (also Alt-Enter, Shift-Enter)
  @             names: Tab takes one, arrows choose
  Up            in an empty composer: edit your newest message
  Ctrl-P Alt-Up select the newest message
  PgUp PgDn     scroll the messages

A selected message (arrows, or a click)
  r answer      t its thread      e edit       d delete
  + react       a react with the emoji used last; again: take it off
  p pin, unpin  Enter show a long one whole, or send a failed one again

Signs
  » open conversation   (3) unread   @ you were called
  ▶ selected   ↳ what is answered   (you) your own reaction   ✓ has read all
"""
