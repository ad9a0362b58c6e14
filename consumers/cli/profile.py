"""`lifecycle profile`: what the inputs and errors of a version are measured against."""

import click

from consumers.cli.profile_attach import attach
from consumers.cli.profile_build import build
from consumers.cli.profile_compare import compare
from consumers.cli.profile_learn import learn
from consumers.cli.profile_show import show


@click.group("profile", short_help="Reference profiles: build, attach, learn, show, compare.")
def command() -> None:
    """Reference profiles: the frozen histograms that a version's inputs are tested against for drift.

    One a version, never replaced. Build it from training data and register the version with it; a version
    that was registered without one can learn it from what it served, or have one attached.
    """


for each in (build, attach, learn, show, compare):
    command.add_command(each)
