"""One HTML file that needs nothing else: no script, no font, no picture from anywhere."""

import html
import os
import tempfile
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

Cell = str | int | float | None
COLORS = 6
"""Series colours of the style sheet."""


class Markup(str):
    """Text that is HTML already; all other text is escaped."""

    __slots__ = ()


def text(value: object) -> Markup:
    """`value` as text of a page."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def element(tag: str, *inside: object, kind: str = "") -> Markup:
    """An element with its text, or with others in it."""
    opening = f'<{tag} class="{kind}">' if kind else f"<{tag}>"
    return Markup(f"{opening}{''.join(text(each) for each in inside)}</{tag}>")


def joined(parts: Iterable[object]) -> Markup:
    return Markup("\n".join(text(part) for part in parts))


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Markup:
    """Numbers to the right; what is None is a dash."""
    body = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(body) and all(row[at][1] for row in body) for at in range(len(columns))]
    head = "".join(
        element("th", name, kind="number" if numeric[at] else "") for at, name in enumerate(columns)
    )
    lines = [
        element(
            "tr",
            *(
                element("td", value, kind="number" if numeric[at] else "")
                for at, (value, _) in enumerate(row)
            ),
        )
        for row in body
    ]
    inside = Markup(f"<thead><tr>{head}</tr></thead>\n<tbody>\n{joined(lines)}\n</tbody>")
    return element("div", element("table", inside), kind="scroll")


def figure(svg: str, caption: str) -> Markup:
    return element("figure", Markup(svg), element("figcaption", caption))


def details(summary: str, inside: Markup) -> Markup:
    return element("details", element("summary", summary), inside)


def page(title: str, body: Markup) -> str:
    """The whole document."""
    style = resources.files("consumers.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def write_whole(path: Path, document: str) -> None:
    """Write to `path`, whole or not at all; an older file is replaced. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(document.encode())
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # mkstemp's own mode would hide it from everybody else
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _cell(value: Cell) -> tuple[str, bool]:
    """Its text, and whether it belongs to the right."""
    match value:
        case None:
            return "–", True
        case float():
            return f"{value:.5g}", True
        case int():
            return f"{value:,}", True
        case _:
            return value, False
