"""`lifecycle`: the command line. Each command's module is imported only when it is called for."""

import importlib
import sys
from collections.abc import Sequence

import click

from consumers.cli.faults import explain

PROGRAM = "lifecycle"
COMMANDS = {
    "init": "consumers.cli.init",
    "demo": "consumers.cli.demo",
    "run": "consumers.cli.run",
    "status": "consumers.cli.status",
    "registry": "consumers.cli.registry",
    "policy": "consumers.cli.policy",
    "experiment": "consumers.cli.experiment",
    "retraining": "consumers.cli.retraining",
    "decision": "consumers.cli.decision",
    "drift": "consumers.cli.drift",
    "dead-letter": "consumers.cli.dead_letter",
    "replay": "consumers.cli.replay",
    "verify": "consumers.cli.verify",
    "reconcile": "consumers.cli.reconcile",
    "bench": "consumers.cli.bench",
}

HELP = """Keeps the models of a trading system honest: drift, experiments, promotion, retraining.

\b
Start with the whole loop on 24 years of oil prices:
  lifecycle demo --home demo-home
\b
Or in earnest:
  lifecycle init --home DIR && lifecycle run all --home DIR
  lifecycle status --home DIR

Exit codes: 0 all is well; 1 it is not (a difference, a failed check, a refused order); 2 wrong arguments or
settings; 3 the store or the log cannot be used now.
"""


class LazyGroup(click.Group):
    """Imports a command's module when the command is looked up, so that `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command


@click.group(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gal-friday-lifecycle", prog_name=PROGRAM)
def cli() -> None:
    """The root of all commands."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and exits with its code; a failure is one line on stderr."""
    try:
        result = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except Exception as error:  # the outermost edge: known errors become one line
        known = explain(error)
        if known is None:
            raise
        line, code = known
        click.echo(f"{PROGRAM}: {line}", err=True)
        sys.exit(code)
    sys.exit(result if isinstance(result, int) else 0)
