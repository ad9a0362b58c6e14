"""Help: every command has it, with an example that is a command line of this program."""

import re

import click
import pytest

from consumers.cli.main import COMMANDS
from tests.cli.commands import all_commands, lifecycle

EVERY = dict(all_commands())


def test_the_program_alone_prints_its_help_and_the_exit_codes() -> None:
    said = lifecycle()
    assert said.code == 2
    assert said.out == ""
    assert "Usage: lifecycle" in said.err
    assert "Exit codes: 0" in said.err
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {re.escape(name)} +{re.escape(line)}$", said.err, re.MULTILINE), name


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    for asked in ("--help", "-h"):
        said = lifecycle(*words, asked)
        assert (said.code, said.err) == (0, "")
        assert f"Usage: lifecycle {' '.join(words)}" in said.out
        assert re.search(rf"Examples?:\n  +lifecycle {' '.join(words)}", said.out), said.out


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_option_of_a_command_says_what_it_is(words: tuple[str, ...]) -> None:
    unexplained = [
        option.name for option in EVERY[words].params if isinstance(option, click.Option) and not option.help
    ]
    assert unexplained == []


def test_groups_print_their_commands() -> None:
    for group in {words[0] for words in EVERY if len(words) > 1}:
        said = lifecycle(group)
        assert said.code == 2
        assert f"Usage: lifecycle {group}" in said.err
        assert "Commands:" in said.err


def test_the_version_is_one_line() -> None:
    said = lifecycle("--version")
    assert said.code == 0
    assert re.fullmatch(r"lifecycle, version \d+\.\d+\.\d+\n", said.out)
