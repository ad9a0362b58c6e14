"""`lifecycle`: the command line. Each command's module is imported only when it is called for."""

import importlib
import sys
from collections.abc import Sequence

import click
from click.exceptions import NoArgsIsHelpError

from consumers.cli.faults import USAGE, explain

PROGRAM = "lifecycle"
INTERRUPTED = 130
COMMANDS = {
    "init": ("init", "Make a deployment: folder, store schema, topics."),
    "topics": ("topics", "Make the topics, see what differs, skip what is damaged."),
    "demo": ("demo", "The whole loop on 24 years of oil prices."),
    "run": ("run", "Run workers until SIGTERM or Ctrl-C."),
    "status": ("status", "What serves, what is open, what is wrong."),
    "registry": ("registry", "Models, versions, stages; who was PRODUCTION when."),
    "profile": ("profile", "Reference profiles: build, attach, learn, show, compare."),
    "policy": ("policy", "How a model is watched, retrained and tried."),
    "experiment": ("experiment", "Experiments: list, show, report, budget, cancel."),
    "retraining": ("retraining", "Retraining jobs: list, request."),
    "decision": ("decision", "List and show decisions with their evidence."),
    "drift": ("drift", "Drift episodes."),
    "dead-letter": ("dead_letter", "Records that could not be used, and why."),
    "replay": ("replay", "Recompute every decision from the log, compare byte for byte."),
    "verify": ("verify", "Recompute one decision from the log."),
    "reconcile": ("reconcile", "Account for every record of the log."),
    "prune": ("prune", "Delete from the store what nothing needs any more."),
    "bench": ("bench", "What the hot path costs on this machine."),
}
"""Name of each command, its module beside this one, and its line in the list of commands."""

HELP = """Keeps the models of a trading system honest: drift, experiments, promotion, retraining.

\b
Start with the whole loop on 24 years of oil prices:
  lifecycle demo --home demo-home
\b
Or in earnest:
  lifecycle init --home DIR && lifecycle run all --home DIR
  lifecycle status --home DIR

Exit codes: 0 all is well; 1 it is not (a difference, a failed check, a refused order, a missing schema or
topic); 2 wrong arguments or settings, such as a password that a server refuses; 3 the store or the log cannot
be used now.
"""


class LazyGroup(click.Group):
    """Imports a command's module when the command is looked up, so that `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"consumers.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gal-friday-lifecycle", prog_name=PROGRAM)
def cli() -> None:
    """The root of all commands."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and exits with its code; a failure is one line on stderr."""
    try:
        result = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(USAGE)
    except Exception as error:  # the outermost edge: known errors become one line
        known = explain(error)
        if known is None:
            raise
        line, code = known
        click.echo(f"{PROGRAM}: {line}", err=True)
        sys.exit(code)
    sys.exit(result if isinstance(result, int) else 0)
