"""The report's frame: page, style, tables and the names of the metrics."""

from collections.abc import Iterable, Sequence
from html import escape

METRICS = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5 accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "precision, mean of the classes",
    "macro_recall": "recall, mean of the classes",
    "macro_f1": "F1, mean of the classes",
    "weighted_precision": "precision, weighted by images",
    "weighted_recall": "recall, weighted by images",
    "weighted_f1": "F1, weighted by images",
    "roc_auc": "area under the ROC curve",
    "average_precision": "average precision",
    "cohen_kappa": "Cohen's kappa",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
CARDS = {
    "accuracy": ("accuracy", "more is better"),
    "macro_f1": ("F1, mean of the classes", "more is better"),
    "log_loss": ("log loss", "less is better"),
    "ece": ("calibration error", "less is better"),
}


def number(value: float | None) -> str:
    """Four digits after the point; a dash for None."""
    return "–" if value is None else f"{value:.4f}"


def share(value: float | None) -> str:
    """0.9876 -> "98.8 %"; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f} %"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table; numbers stand right."""
    cells = [list(map(str, row)) for row in rows]
    right = [bool(cells) and all(_numeric(row[i]) for row in cells) for i in range(len(head))]
    kinds = [' class="n"' if is_right else "" for is_right in right]
    top = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(head, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in cells
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _numeric(text: str) -> bool:
    return not text.strip("0123456789.,–% to-")


STYLE = """
:root { color-scheme: light }
* { box-sizing: border-box }
body { margin: 0; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  color: #18181b; background: #fafafa }
header { background: #18181b; color: #fafafa; padding: 28px 20px 24px }
header > div, main, nav div { max-width: 1040px; margin: auto }
header h1 { margin: 0 0 6px; font-size: 1.65rem; line-height: 1.2; overflow-wrap: anywhere }
header p { margin: 0; color: #d4d4d8 }
header strong { color: #fff; font-size: 1.15em }
nav { position: sticky; top: 0; z-index: 1; background: #fafafaf2; border-bottom: 1px solid #e4e4e7;
  padding: 0 20px; overflow-x: auto; white-space: nowrap }
nav a { display: inline-block; padding: 11px 14px 11px 0; color: #3f3f46; text-decoration: none; font-size: .88rem }
nav a:hover { color: #2563eb }
main { padding: 8px 20px 60px }
section { background: #fff; border: 1px solid #e4e4e7; border-radius: 10px; padding: 18px 20px; margin: 18px 0;
  scroll-margin-top: 54px }
h2 { font-size: 1.12rem; margin: 0 0 12px }
p { margin: 0 0 12px; color: #3f3f46; max-width: 70ch }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px }
.card { border: 1px solid #e4e4e7; border-radius: 8px; padding: 12px 14px }
.card b { display: block; font-size: 1.6rem; line-height: 1.2 }
.card span { display: block }
.card small { display: block; color: #71717a }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 16px 28px }
figure { margin: 0; max-width: 520px }
svg { width: 100%; height: auto; display: block }
svg text { font: 13px system-ui, "DejaVu Sans", sans-serif }
.legend { margin: 4px 0 0; font-size: .88rem }
.legend span { margin-right: 18px; white-space: nowrap }
.legend i { display: inline-block; width: 18px; height: 4px; border-radius: 2px; margin-right: 7px;
  vertical-align: middle }
.wide { overflow-x: auto; margin: 0 0 12px }
img { display: block; max-width: 100%; height: auto }
table { border-collapse: collapse; font-size: .9rem; min-width: min(100%, 280px) }
td, th { padding: 5px 22px 5px 0; text-align: left; border-bottom: 1px solid #f0f0f1; vertical-align: top }
td { overflow-wrap: break-word }
th { color: #71717a; font-weight: 600 }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
summary { cursor: pointer; color: #2563eb; padding: 8px 0 }
@media (max-width: 700px) {
  header, main, nav { padding-left: 12px; padding-right: 12px }
  section { padding: 14px 12px }
  .sheet img { max-width: none; width: auto; min-width: 100%; zoom: .72 }
  td, th { padding-right: 14px }
}
@media print { nav { display: none } section { break-inside: avoid } }
""".strip()

PAGE = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
    f"<style>{STYLE.replace('{', '{{').replace('}', '}}')}</style></head><body>"
    "<header><div><h1>{title}</h1><p>{lead}</p></div></header><nav><div>{links}</div></nav>"
    "<main>{body}</main></body></html>\n"
)
