"""The frame of every report page: one HTML file, light and dark, readable on a phone, printable."""

from __future__ import annotations

from html import escape

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--paper:#fff;--good:#1a7f37;--bad:#cf222e;--open:#9a6700;--a:#0969da;--b:#bc4c00}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9ea7b3;--line:#3d444d;--paper:#0d1117;--good:#3fb950;--bad:#ff7b72;--open:#d29922;--a:#58a6ff;--b:#f0883e}}
*{box-sizing:border-box}body{margin:0 auto;max-width:62rem;padding:1.2rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0}h2{font-size:1.15rem;margin:2rem 0 .4rem}p{max-width:46rem}.soft{color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;min-width:34rem;width:100%}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}.open{color:var(--open)}svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font:12px system-ui,sans-serif}
code{font-size:.9em;overflow-wrap:anywhere}@media print{body{max-width:none}h2{break-after:avoid}tr{break-inside:avoid}}
"""


def page(title: str, body: str) -> str:
    """A whole HTML document; `title` is escaped here, `body` must be HTML already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A table; cells must be HTML already."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table></div>'
