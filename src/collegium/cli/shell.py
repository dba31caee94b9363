"""How every command speaks: data on stdout, notes on stderr, one JSON document on request, an exit code for each kind of end.

The options of `common` work on every command, and before it.
"""

import difflib
import json
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias

import click
from click.shell_completion import CompletionItem

from collegium.errors import CollegiumError

SCHEMA = 1  # of the JSON documents
EXIT_CODES = {
    0: "done",
    1: "the work failed: a run failed, or a check found what must be mended",
    2: "the command or a file it names cannot be understood",
    3: "it took longer than allowed",
    4: "the coordinator cannot be reached",
    5: "not allowed",
    6: "not found",
    7: "in another state than the command needs",
    8: "a signature, a digest or a chain of records does not hold",
    130: "interrupted",
}
EPILOG = "Exit codes: " + "; ".join(f"{code} {says}" for code, says in EXIT_CODES.items()) + "."
Command: TypeAlias = click.Command


@dataclass
class Screen:
    """How this call prints."""

    json: bool = False
    quiet: bool = False
    yes: bool = False
    no_color: bool = False
    plain: bool = False
    debug: bool = False

    @property
    def lively(self) -> bool:
        """Whether a person sits at a terminal and wants boxes, colours and moving lines."""
        return sys.stdout.isatty() and sys.stderr.isatty() and not (self.json or self.quiet or self.plain)

    def show(self, data: Mapping[str, Any], human: str) -> None:
        """The outcome of a command: its document, or what people read."""
        if self.json:
            click.echo(json.dumps(envelope(data), ensure_ascii=False, default=str))
        elif human:
            click.echo(human)

    def table(self, rows: Iterable[Sequence[Any]], heads: Sequence[str]) -> str:
        """Rows for people: aligned text, or a drawn table where a person sits at a terminal."""
        if not self.lively:
            return columns(rows, heads)
        from rich.console import Console  # local: nobody waits for it where no table is drawn
        from rich.table import Table
        from rich.text import Text

        body = [[said(cell) for cell in row] for row in rows]
        console, drawn = Console(no_color=self.no_color), Table(header_style="bold")
        for name, right in zip(heads, flush_right(body, len(heads)), strict=True):
            drawn.add_column(name, justify="right" if right else "left", overflow="fold")  # a path that is cut cannot be used
        for row in body:
            drawn.add_row(*map(Text, row))
        with console.capture() as text:
            console.print(drawn)
        return text.get().rstrip("\n")

    def filled(self, text: str) -> str:
        """A paragraph, broken between words where a person sits at a terminal."""
        return textwrap.fill(text, shutil.get_terminal_size().columns, break_on_hyphens=False) if self.lively else text

    def line(self, data: Mapping[str, Any]) -> None:
        """One line of a stream."""
        click.echo(json.dumps({"schema_version": SCHEMA, **data}, ensure_ascii=False, default=str))

    def note(self, text: str) -> None:
        """Progress, advice: beside the data, and not with --quiet."""
        if not self.quiet:
            click.echo(text, err=True)

    def agreed(self, question: str) -> None:
        """Ask before what cannot be undone; --yes answers. A no ends the command."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise CollegiumError(f"{question} Nobody is here to answer.", hint="add --yes to do it without asking")
        if not click.confirm(question, err=True):
            self.note("nothing was done")
            raise click.exceptions.Exit(130)


def envelope(data: Mapping[str, Any], *, code: int = 0, error: CollegiumError | None = None) -> dict[str, Any]:
    """The one JSON document that a command prints."""
    out: dict[str, Any] = {"schema_version": SCHEMA, "status": "error" if error else "ok", "exit_code": code, "data": dict(data)}
    return out | ({"error_code": error.code, "message": str(error), "hint": error.hint} if error else {})


def screen_of(ctx: click.Context) -> Screen:
    """The screen of this call."""
    found: Screen = ctx.find_root().ensure_object(Screen)
    return found


def common() -> list[click.Option]:
    """The options that every command takes."""

    def keep(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            setattr(screen_of(ctx), str(parameter.name), True)

    says = {
        "--json": "print one JSON document",
        "--quiet": "no notes, no progress",
        "--yes": "do not ask, do it",
        "--no-color": "no colours (also by NO_COLOR)",
        "--plain": "no boxes or moving lines, for screen readers",
        "--debug": "show where an error came from",
    }
    return [click.Option([name], is_flag=True, expose_value=False, callback=keep, help=text) for name, text in says.items()]


def command(name: str, run: Callable[..., Any], *parameters: click.Parameter) -> Command:
    """A command from a function whose first argument is the `Screen`; its docstring is the help."""

    def call(**values: Any) -> Any:
        return run(screen_of(click.get_current_context()), **values)

    return click.Command(name, callback=call, params=[*parameters, *common()], help=run.__doc__, epilog=EPILOG)


class Twig(NamedTuple):
    """A command: where it lives, as `module:name`, and what it is for."""

    where: str
    says: str

    def load(self) -> Command:
        """The command itself."""
        module, _, name = self.where.partition(":")
        found: Command = getattr(import_module(module), name)
        return found


class Branch(NamedTuple):
    """A group of commands."""

    name: str
    says: str
    below: Mapping[str, "Twig | Branch"]

    def build(self, alone: Callable[[click.Context], object] | None = None) -> "Group":
        """The group as click has it; `alone` is called when no command follows."""
        return Group(self, alone)


class Group(click.Group):
    """A group that loads a command when it is called and not before."""

    def __init__(self, branch: Branch, alone: Callable[[click.Context], object] | None) -> None:
        def call() -> None:
            ctx = click.get_current_context()
            if alone and ctx.invoked_subcommand is None:
                alone(ctx)

        super().__init__(
            branch.name, callback=call, params=list(common()), help=branch.says, invoke_without_command=alone is not None, epilog=EPILOG
        )
        self.branch = branch

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.branch.below)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Command | None:
        found = self.branch.below.get(cmd_name)
        return None if found is None else found.load() if isinstance(found, Twig) else found.build()

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        if args and args[0] not in self.branch.below and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.branch.below, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(self.branch.below)}"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        below = [CompletionItem(name, help=found.says) for name, found in self.branch.below.items() if name.startswith(incomplete)]
        return below + click.Command.shell_complete(self, ctx, incomplete)  # not click's own way, which loads every command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.says) for name, found in self.branch.below.items()])


def execute(root: Command, arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; whatever goes wrong is said in a sentence."""
    screen = Screen(json="--json" in arguments, debug="--debug" in arguments)  # known even where the line cannot be read
    try:
        code = root.main(list(arguments), prog_name="collegium", standalone_mode=False, obj=screen)
        return code if isinstance(code, int) else 0
    except CollegiumError as e:
        return failed(screen, e, e.exit_code)
    except click.ClickException as e:
        return failed(screen, CollegiumError(e.format_message(), hint=usage(e)), 2)
    except (KeyboardInterrupt, click.Abort):
        return failed(screen, CollegiumError("interrupted"), 130)
    except TimeoutError as e:
        return failed(screen, CollegiumError(str(e) or "it took longer than allowed"), 3)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone: nobody is left to tell
        return 1
    except Exception as e:
        return failed(
            screen,
            CollegiumError(
                f"something failed that was not foreseen: {type(e).__name__}: {e}",
                hint="run it again with --debug, and report what it shows",
            ),
            1,
        )


def usage(error: click.ClickException) -> str:
    """Where to read about a command that was called wrongly."""
    ctx = getattr(error, "ctx", None)
    return f"{ctx.command_path} --help" if ctx else ""


def failed(screen: Screen, error: CollegiumError, code: int) -> int:
    """Say what went wrong, on stderr for people and on stdout for programs."""
    if screen.debug:
        traceback.print_exc()
    if screen.json:
        click.echo(json.dumps(envelope({}, code=code, error=error), ensure_ascii=False))
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    return code


def columns(rows: Iterable[Sequence[Any]], heads: Sequence[str] = ()) -> str:
    """Rows as aligned text, the form that every terminal and screen reader takes.

    >>> print(columns([("north", 120), ("south-east", 7)], ("site", "patients")))
    site        patients
    north            120
    south-east         7
    """
    body = [[said(cell) for cell in row] for row in rows]
    right = flush_right(body, len(heads or (body[0] if body else ())))
    whole = ([list(heads)] if heads else []) + body
    widths = [max(len(row[at]) for row in whole) for at in range(len(right))]
    return "\n".join(
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)).rstrip() for row in whole
    )


def flush_right(body: Sequence[Sequence[str]], count: int) -> list[bool]:
    """Which columns hold numbers."""
    return [bool(body) and all(is_number(row[at]) for row in body) for at in range(count)]


def said(cell: Any) -> str:
    """A cell as text."""
    return "-" if cell is None or cell == "" else clean(cell)


def clean(said: Any) -> str:
    """Text that cannot move the cursor or colour the screen: strangers write titles, and reasons."""
    return "".join(char if char.isprintable() else " " for char in str(said))


def is_number(text: str) -> bool:
    """Whether a cell is set flush right."""
    return text == "-" or text.replace(",", "").replace(".", "", 1).removesuffix(" %").lstrip("+-").isdigit()
