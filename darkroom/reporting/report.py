"""`darkroom report`: everything that a run has to say as one HTML file, which needs nothing else to be opened."""

import argparse
import re
import sys
from html import escape
from pathlib import Path

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.reporting.report_material import Material
from darkroom.reporting.report_page import PAGE, share
from darkroom.reporting.report_sections import SECTIONS


def main(arguments: list[str]) -> int:
    """Write the report of the workspace."""
    parser = argparse.ArgumentParser(
        prog="darkroom report", description="Write everything about the workspace's run into one HTML file."
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the file (default: %(default)s)")
    asked = parser.parse_args(arguments)
    if asked.out.is_dir():
        raise DarkroomError(f"--out {asked.out} is a folder; name a file, such as {asked.out / 'report.html'}")
    files.write_text(asked.out, page(Material(Path())))
    size = asked.out.stat().st_size / 1e6
    print(f"report: {asked.out} ({size:.1f} MB), one file that opens without a network", file=sys.stderr)
    return 0


def page(material: Material) -> str:
    """The whole HTML text."""
    sections = [(name, build(material)) for name, build in SECTIONS.items()]
    present = [(name, slug(name), body) for name, body in sections if body]
    links = "".join(f'<a href="#{key}">{escape(name)}</a>' for name, key, _ in present)
    bodies = "".join(f'<section id="{key}"><h2>{escape(name)}</h2>{body}</section>' for name, key, body in present)
    return PAGE.format(title=escape(_title(material)), lead=_lead(material), links=links, body=bodies)


def slug(name: str) -> str:
    """A section's name as the part of an address after #: links to it say where they lead, and stay when others go."""
    return "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def _title(material: Material) -> str:
    return f"{material.params.get('backbone', 'A classifier')} on {Path(str(material.params.get('source', ''))).stem}"


def _lead(material: Material) -> str:
    test = material.test
    if test.get("accuracy") is None:
        return "No test image has been answered."
    low, high = share(test["accuracy_low"]), share(test["accuracy_high"])
    return (
        f"<strong>{share(test['accuracy'])}</strong> of {test['n']:,} test images are answered right;"
        f" with 95 % confidence the true share is between {low} and {high}."
    )
