"""The frame of every report page: one HTML file, light and dark, readable on a phone, printable."""

from __future__ import annotations

from html import escape
from pathlib import Path

_STYLE = Path(__file__).with_name("page.css")


def page(title: str, body: str) -> str:
    """A whole HTML document; `title` is escaped here, `body` must be HTML already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_STYLE.read_text()}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A table; cells must be HTML already."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    body = f"<table><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table>"
    return f'<div class="wide" tabindex="0">{body}</div>'
