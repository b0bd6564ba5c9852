"""What takes a question to the user and one to the server: people, groups, invites, pins, accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import work

import parley
from parley_cli.credentials import LogIn
from parley_cli.failure import CommandFailure
from parley_cli.global_options import GlobalOptions
from parley_cli.session import credential_store
from parley_cli.tui.dialogs import Ask, Choose, Confirm, Show
from parley_cli.tui.model import actions as act
from parley_cli.tui.model.member import choices_about, may_manage
from parley_cli.tui.model.message import Message
from parley_cli.tui.model.text import clip, shown_lines
from parley_cli.tui.port import SessionPort

if TYPE_CHECKING:
    from textual.app import App

    from parley_cli.tui.model.state import State

    _Base = App[None]
else:
    _Base = object

_EMOJI = (
    *(("👍", "thumbs up"), ("❤️", "heart"), ("😂", "laughing"), ("🎉", "party"), ("😮", "surprised")),
    *(("😢", "sad"), ("🙏", "thanks"), ("✅", "done"), ("👀", "looking"), ("👎", "thumbs down")),
)

_INVITE_DAYS = 7


class Deeds(_Base):
    """The dialogs of the window. What fails is told in the last line."""

    options: GlobalOptions
    log_in: LogIn
    state: State
    session: SessionPort

    def dispatch(self, action: act.Action) -> None:
        """Let the model decide."""
        raise NotImplementedError

    async def switch(self, options: GlobalOptions, log_in: LogIn) -> None:
        """Be another log-in."""
        raise NotImplementedError

    def open_channel(self, channel_id: str) -> None:
        """Show a conversation, ready to write."""
        raise NotImplementedError

    def _failed(self, failure: CommandFailure) -> None:
        self.dispatch(act.Told(f"{failure.what}. {failure.advice}".strip(), bad=True))

    def _group_id(self) -> str | None:
        line = self.state.line
        if line is None or line.direct:
            self.dispatch(act.Told("Open a group first (F2, F5).", bad=True))
            return None
        return line.channel_id

    @work(exclusive=True, group="dialog")
    async def action_new(self) -> None:
        """Begin a conversation."""
        choices = [
            ("direct", "write to somebody"),
            ("group", "make a group"),
            ("join", "join a group by an invite's code"),
        ]
        chosen = await self.push_screen_wait(Choose("New", choices))
        try:
            if chosen == "direct":
                await self._direct()
            elif chosen == "group":
                await self._create_group()
            elif chosen == "join":
                answer = await self.push_screen_wait(Ask("Join a group", [("The invite's code", "")]))
                if answer and answer[0]:
                    self.open_channel(await self.session.desk.join(answer[0]))
        except CommandFailure as failure:
            self._failed(failure)

    async def _direct(self) -> None:
        search = Choose("Write to: type the beginning of a name", [], search=self.session.desk.search_users)
        name = await self.push_screen_wait(search)
        if name:
            self.open_channel(await self.session.desk.direct(name))

    async def _create_group(self) -> None:
        fields = [("Title", ""), ("Members, as in: bob carol", "")]
        answer = await self.push_screen_wait(Ask("Make a group", fields))
        if answer and answer[0]:
            names = answer[1].replace(",", " ").split()
            group_id = await self.session.desk.create_group(answer[0], names, parley.new_id())
            self.open_channel(group_id)

    @work(exclusive=True, group="dialog")
    async def action_invite(self) -> None:
        """Make an invite and show its code."""
        channel_id = self._group_id()
        if channel_id is None:
            return
        fields = [("For how many people (0: any number)", "1"), ("For how many days", str(_INVITE_DAYS))]
        answer = await self.push_screen_wait(Ask("Invite", fields))
        if answer is None:
            return
        if not all(each.isascii() and each.isdigit() for each in answer) or int(answer[1]) < 1:
            self.dispatch(act.Told("Write numbers, and at least one day.", bad=True))
            return
        uses, days = int(answer[0]), int(answer[1])
        try:
            code = await self.session.desk.create_invite(channel_id, uses=uses, days=days)
        except CommandFailure as failure:
            self._failed(failure)
            return
        who = "any number of people" if not uses else "1 person" if uses == 1 else f"{uses} people"
        text = f"{code}\n\nfor {who}, {days} days. One joins by it with F5.\nIt is shown only now."
        await self.push_screen_wait(Show("The invite's code", text))

    @work(exclusive=True, group="dialog")
    async def action_group(self) -> None:
        """Add members to the group, or leave it."""
        channel_id = self._group_id()
        if channel_id is None:
            return
        manage = self.state.me is not None and may_manage(self.state.me.role)
        choices = [("add", "add members")] if manage else []
        chosen = await self.push_screen_wait(Choose("This group", [*choices, ("leave", "leave it")]))
        try:
            if chosen == "add":
                answer = await self.push_screen_wait(Ask("Add members", [("Names, as in: bob carol", "")]))
                if answer and (names := answer[0].replace(",", " ").split()):
                    await self.session.desk.add_members(channel_id, names)
            elif chosen == "leave" and await self.push_screen_wait(Confirm("Leave this group?")):
                await self.session.desk.leave(channel_id)
        except CommandFailure as failure:
            self._failed(failure)

    @work(exclusive=True, group="dialog")
    async def action_pins(self) -> None:
        """Show the pinned messages; the one chosen is selected if it is held."""
        channel_id = self.state.channel_id
        if channel_id is None:
            return
        try:
            pinned = await self.session.desk.pinned(channel_id)
        except CommandFailure as failure:
            self._failed(failure)
            return
        if not pinned:
            self.dispatch(act.Told("Nothing is pinned here."))
            return
        rows = [(str(each.seq), f"{name}: {clip(each.text, 60)}") for name, each in pinned]
        chosen = await self.push_screen_wait(Choose("Pinned", rows))
        if chosen is not None:
            self.dispatch(act.Select(int(chosen)))
            if self.state.selected is None:
                found = next(each for _, each in pinned if str(each.seq) == chosen)
                await self.push_screen_wait(Show("Pinned", "\n".join(shown_lines(found.text))))

    @work(exclusive=True, group="dialog")
    async def action_react(self) -> None:
        """Choose an emoji for the selected message."""
        chosen_message = self.state.selected
        if not isinstance(chosen_message, Message):
            self.dispatch(act.React())
            return
        last = self.state.last_emoji
        rows = [(emoji, f"{emoji} {word}") for emoji, word in _EMOJI if emoji != last]
        rows.insert(0, (last, f"{last} (used last)"))
        emoji = await self.push_screen_wait(Choose("React: choose, or type an emoji", rows, free=True))
        if emoji:
            self.dispatch(act.Select(chosen_message.key))
            self.dispatch(act.React(emoji))

    @work(exclusive=True, group="dialog")
    async def about_member(self, user_id: str) -> None:
        """Offer what can be done about a member, and do it."""
        member = next((each for each in self.state.current_members if each.user_id == user_id), None)
        channel_id = self.state.channel_id
        if member is None or channel_id is None:
            return
        choices = choices_about(member, self.state.me)
        if not choices:
            self.dispatch(act.Told("That is you."))
            return
        deed = await self.push_screen_wait(Choose(f"@{member.name}", choices))
        try:
            if deed == "direct":
                self.open_channel(await self.session.desk.direct(member.name))
            elif deed is not None:
                await self.session.desk.about_member(channel_id, user_id, deed)
        except CommandFailure as failure:
            self._failed(failure)

    @work(exclusive=True, group="dialog")
    async def action_accounts(self) -> None:
        """Be another of the log-ins stored here."""
        try:
            log_ins = credential_store().all_log_ins()
        except CommandFailure as failure:
            self._failed(failure)
            return
        rows = [
            (str(place), f"{'» ' if each == self.log_in else '  '}{each.username} @ {each.server}")
            for place, each in enumerate(log_ins)
        ]
        chosen = await self.push_screen_wait(Choose("Accounts (more: `parley login NAME`)", rows))
        if chosen is not None:
            log_in = log_ins[int(chosen)]
            if (log_in.server, log_in.username) != (self.log_in.server, self.log_in.username):
                await self.switch(GlobalOptions(server=log_in.server, as_name=log_in.username), log_in)
