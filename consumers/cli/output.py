"""What commands print: a table for people, JSON for programs."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from schemas.clock import from_ms

Record = Mapping[str, Any]


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    click.echo(orjson.dumps(value, option=option, default=str).decode())


def print_table(title: str, records: Sequence[Record], columns: Sequence[str], empty: str) -> None:
    """`records` as a table with these columns; `empty` says what it means that there are none."""
    console = Console(soft_wrap=False)
    if not records:
        console.print(empty, markup=False)
        return
    table = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for column in columns:
        numeric = all(isinstance(record.get(column), int | float | None) for record in records)
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for record in records:
        table.add_row(*(_cell(record.get(column)) for column in columns))
    console.print(table)


def print_fields(title: str, record: Record) -> None:
    """One record, a line per field."""
    console = Console()
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in record.items():
        table.add_row(name.replace("_", " "), _cell(value))
    console.print(table)


def when(milliseconds: int | None) -> str | None:
    """Event time as people write it, UTC, without a trailing zero time of day."""
    if milliseconds is None or abs(milliseconds) > 2**53:
        return None
    moment = from_ms(milliseconds).astimezone(UTC)
    whole_day = milliseconds % 86_400_000 == 0
    return moment.strftime("%Y-%m-%d" if whole_day else "%Y-%m-%dT%H:%M:%SZ")


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case dict() | list() | tuple():
            return orjson.dumps(value).decode()
        case _:
            return str(value)
