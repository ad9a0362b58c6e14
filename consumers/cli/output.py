"""What commands print: a table for people, JSON for programs."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

import click
import orjson
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from schemas.clock import from_ms

Record = Mapping[str, Any]
_PROSE = 40
"""Cells longer than this are text: they may be broken into lines, others may not."""
_PROSE_WIDTH = 28
"""Text is not squeezed into less than this."""


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    click.echo(orjson.dumps(value, option=option, default=str).decode())


def print_table(title: str, records: Sequence[Record], columns: Sequence[str], empty: str) -> None:
    """`records` as a table with these columns; `empty` says what it means that there are none.

    Where the terminal is too narrow for a table that can be read, each record is a block of lines instead.
    """
    console = _console()
    if not records:
        console.print(empty)
        return
    cells = _cells(records, columns)
    widths = _widths(cells, console.width)
    if widths is not None:
        table = Table(
            title=title,
            title_justify="left",
            header_style="bold",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for name, width in widths.items():
            numbers = all(isinstance(record.get(name), int | float | None) for record in records)
            table.add_column(
                _header(name), justify="right" if numbers else "left", overflow="fold", width=width
            )
        for row in zip(*cells.values(), strict=True):
            table.add_row(*row)
        console.print(table)
        return
    for number, record in enumerate(records, start=1):
        shown = {column: record.get(column) for column in columns}
        _print_block(console, f"{title}, {number} of {len(records)}", shown)


def fits(records: Sequence[Record], columns: Sequence[str]) -> bool:
    """Whether `print_table` shows these as a table: the terminal is wide enough."""
    return not records or _widths(_cells(records, columns), _console().width) is not None


def _cells(records: Sequence[Record], columns: Sequence[str]) -> dict[str, list[str]]:
    return {name: [_cell(record.get(name)) for record in records] for name in columns}


def _widths(cells: Mapping[str, Sequence[str]], available: int) -> dict[str, int] | None:
    """The width of each column, None where not even the least ones fit.

    Only prose may be broken within a cell, and headers between their words. rich shares out the room itself
    if it is let, but squeezes columns below their least width and then drops the last ones.
    """
    least, wanted = {}, {}
    for name, column in cells.items():
        longest = max(map(cell_len, column))
        words = max(map(len, _header(name).split()))
        least[name] = max(_PROSE_WIDTH if longest > _PROSE else longest, words)
        wanted[name] = max(longest, len(_header(name)))
    # a border on each side, and a space and a border between two columns
    spare = available - 2 - 2 * (len(cells) - 1) - sum(least.values())
    if spare < 0:
        return None
    widths = dict(least)
    for name in sorted(cells, key=lambda each: wanted[each] - least[each]):
        more = min(wanted[name] - least[name], spare)
        widths[name] += more
        spare -= more
    return widths


def _header(name: str) -> str:
    return name.replace("_", " ")


def print_fields(title: str, record: Record) -> None:
    """One record, a line per field."""
    _print_block(_console(), title, record)


def _print_block(console: Console, title: str, record: Record) -> None:
    # a title of the table would be broken at the table's width, which may be a few letters
    console.print(title, style="table.title")
    table = Table(show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in record.items():
        cell = _cell(value)
        if isinstance(value, dict | list) and cell[:1] in "{[" and len(cell) > _PROSE:
            cell = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
        table.add_row(name.replace("_", " "), cell)
    console.print(table)
    console.print()


def when(milliseconds: int | None) -> str | None:
    """Event time as people write it, UTC, without a trailing zero time of day."""
    if milliseconds is None or abs(milliseconds) > 2**53:
        return None
    moment = from_ms(milliseconds).astimezone(UTC)
    whole_day = milliseconds % 86_400_000 == 0
    return moment.strftime("%Y-%m-%d" if whole_day else "%Y-%m-%dT%H:%M:%SZ")


def _console() -> Console:
    # names and reasons come from the log: they are text, never markup
    return Console(markup=False, emoji=False, highlight=False)


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case list() | tuple() if all(isinstance(item, str) for item in value):
            return ", ".join(value) or "-"
        case dict() | list() | tuple():
            return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
        case _:
            return str(value)
