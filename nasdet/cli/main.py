"""The command line: a command's module is imported only when the command runs, so that `nasdet --help` answers at once;
and errors become exit codes here and nowhere else."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click

INTERRUPTED = 130
"""Exit code after Ctrl-C; after SIGTERM it is 143, as shells have it."""
# command -> (module, one line for --help)
COMMANDS: dict[str, tuple[str, str]] = {
    "search": ("search", "Search for detectors; ends with a Pareto front."),
    "resume": ("resume", "Go on with a study that was interrupted."),
    "status": ("status", "Where a study stands, also while it runs."),
    "pareto": ("pareto", "Show, plot or save the Pareto front of a study."),
    "ui": ("ui", "Open MLflow's user interface on a study."),
    "export": ("export", "Write one trial of a study as a bundle."),
    "train": ("train", "Train a bundle or specification in full."),
    "eval": ("eval", "COCO metrics of a bundle on a data set."),
    "predict": ("predict", "Draw a bundle's boxes on images."),
    "calibrate": ("calibrate", "See how early the order of candidates is known."),
    "analyze": ("analyze", "Look into a study or a bundle: report, errors, spectrum, ..."),
    "space": ("space", "Write the search space that follows from a data set."),
    "check": ("check", "Check a search space without training."),
    "data": ("data", "Check a data set and draw a contact sheet."),
    "systems": ("systems", "Detectors of the literature that can be trained by name."),
    "doctor": ("doctor", "Check this machine and installation."),
}

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What the system says of a disk that takes nothing more."""


class LazyGroup(click.Group):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import `nasdet.cli.<module>` and take its `command`."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"nasdet.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command for a mistyped one, but not while the shell completes a line."""
        from nasdet.errors import InputError, nearest

        if args and not args[0].startswith("-") and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise InputError(f"no command {args[0]!r}", remedy=nearest(args[0], COMMANDS))
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="nasdet", prog_name="nasdet")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Search, from random initialisation, for the object detector that fits your images and your device.

    \b
    Example:
      nasdet search search_spaces/detnet.yaml
      nasdet pareto --plot front.png
      nasdet export --pick best --out best
      nasdet train best --data digits --out trained --epochs 60
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `nasdet`; ends the process with the exit codes of the public interface."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "true")
    with _sigterm_as_ctrl_c() as terminations:
        code = _run(arguments, debug)
    if code == INTERRUPTED and terminations:
        code = 128 + signal.SIGTERM
    sys.stdout.flush()
    sys.stderr.flush()
    if "ray" not in sys.modules and code < 128:
        sys.exit(code)
    # Ray and MLflow leave threads behind that can hold a finished process for seconds, and with torch the interpreter
    # collects garbage for seconds more, which nobody waits for after Ctrl-C.
    os._exit(code)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[list[int]]:
    """What `kill`, a cluster or a container sends to end the process has the effect of Ctrl-C: what runs is ended, and
    how to go on is said. Yields a list that is not empty once it has come."""
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: list[str], debug: bool) -> int:
    from nasdet.errors import NasdetError

    try:
        result: Any = cli.main(arguments, prog_name="nasdet", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        return _say("interrupted", INTERRUPTED)
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "nasdet"
        text = " ".join(error.format_message().split()).rstrip(".")
        return _say(f"{text[:1].lower()}{text[1:]}; see {command} --help", 2)
    except click.ClickException as error:
        return _say(error.format_message(), 2)
    except NasdetError as error:
        if debug:
            traceback.print_exc()
        return _say(str(error), error.exit_code)
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG and not debug:
            return _say(f"{str(error.filename)[:60]}...: no file can have a name that long; give a shorter one", 2)
        if debug or error.errno not in FULL:
            return _fault(error, debug)
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"{where}cannot be written ({error.strerror}); what was finished before is kept", 2)
    except Exception as error:
        return _fault(error, debug)


def _fault(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    text = " ".join(str(error).split())
    return _say(f"{type(error).__name__}: {text} (a fault of nasdet; --debug shows where)", 1)


def _say(line: str, code: int) -> int:
    click.echo(f"nasdet: {line}", err=True)
    return code
