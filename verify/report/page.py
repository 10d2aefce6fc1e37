"""The frame of every report page: one HTML file, light and dark, readable on a phone, printable."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path

from verify.report.wording import text

_HERE = Path(__file__).parent


def asset(name: str) -> str:
    """A style sheet or script that lies beside this file."""
    return (_HERE / name).read_text(encoding="utf-8")


def page(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """A whole HTML document that may load nothing from anywhere.

    Its content security policy allows this one style sheet and this one script by their hashes, and images that the
    page itself holds; whatever a hostile string might smuggle in stays dead.

    Args:
        title: plain text, escaped here.
        body: HTML already, without style attributes.
        style: more style, after the sheet of all pages.
        script: run when the page is there.
    """
    style = asset("page.css") + style
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src {_hash(style)}"
    )
    policy += f"; script-src {_hash(script)}" if script else ""
    run = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<link rel="icon" href="data:,">'
        f"<title>{text(title)}</title><style>{style}</style></head>\n<body><main>\n{body}\n</main>{run}</body></html>\n"
    )


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A table; cells must be HTML already."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    body = f"<table><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table>"
    return f'<div class="wide" tabindex="0">{body}</div>'
