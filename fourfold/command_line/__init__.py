"""The command line `fourfold`: its commands, and how a program ends that cannot go on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from fourfold import __version__
from fourfold.command_line.failure import Failure, one_line
from fourfold.signals import Interrupted, interruptible

HELP = """Prove that implementations of one thing in several frameworks agree.

\b
The first five minutes of a port:
  fourfold compare my_cases.py --torch mylib.focal:FocalLoss --keras mylib_tf.focal:FocalLoss

\b
where my_cases.py says what both are called with:
  import fourfold
  CASES = fourfold.cases_from_shapes({"logits": (7, 5), "targets": (7, 5)})

\b
Exit status:
  0    they agree, or all is well
  1    they differ, or a file is bad
  2    the command or the case file was not understood
  3    something could not be measured
  130  interrupted

`fourfold COMMAND --help` has examples of each.
"""
# {command: where its click.Command is}. A command is imported when it is asked for: `describe`
# needs nothing but NumPy, the report needs rich and matplotlib.
COMMANDS = {
    "compare": "fourfold.command_line.compare:compare",
    "record": "fourfold.command_line.record:record",
    "report": "fourfold.command_line.report:report",
    "describe": "fourfold.command_line.model_files:describe",
    "check": "fourfold.command_line.model_files:check",
    "predict": "fourfold.command_line.model_files:predict",
    "weights": "fourfold.command_line.model_files:weights",
    "convert": "fourfold.command_line.model_files:convert",
}


class Commands(click.Group):
    """The group of all commands."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name].split(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found


@click.group(cls=Commands, help=HELP)
@click.version_option(__version__, message="fourfold %(version)s")
def program() -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments ask for; the exit status."""
    try:
        with interruptible():  # as by an error, so that no process that was started is left behind
            status = program.main(arguments, "fourfold", standalone_mode=False)
            sys.stdout.flush()
            return int(status or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return int(error.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "fourfold"
        text = one_line(error.format_message()).rstrip(".")
        print(f"{path}: {text}; see `{path} --help`", file=sys.stderr)
        return int(error.exit_code)
    except Failure as error:
        print(f"fourfold: {error.message}", file=sys.stderr)
        return error.status
    except click.ClickException as error:
        print(f"fourfold: {one_line(error.format_message())}", file=sys.stderr)
        return int(error.exit_code)
    except Interrupted as error:
        return error.status
    except click.Abort:
        return 130
    except BrokenPipeError:  # `fourfold ... | head`; what Python flushes at its end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
