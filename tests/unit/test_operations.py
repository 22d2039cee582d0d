"""docs/operations.md explains every metric, metric kind, exit code and warning that the code has, and none besides."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers._metric import KINDS
from consumers._supervise import FOR_A_PERSON
from consumers._watchdog import EXIT_CODE
from consumers.cli.app import app
from stream import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()
ALERTS = ("error-rate", "freshness", "lag-stall", "drift", "sample-ratio", "guardrail", "silence")
MADE = {"Counter": "_total", "CounterMetricFamily": "_total", "Gauge": "", "GaugeMetricFamily": "", "Histogram": ""}


def section(title: str) -> str:
    """The text below one heading."""
    [found] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return str(found)


def first_cells(title: str) -> list[str]:
    """The first column of a section's table."""
    rows = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [row.split(" | ")[0].removeprefix("| ") for row in rows[2:]]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """(name of what is called, the call) everywhere in processes and infra."""
    for path in [p for top in ("consumers", "infra") for p in sorted((ROOT / top).rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def text_of(node: ast.expr) -> str:
    """A string as far as it is written out: of an f-string, the longest such part. '' for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return max((text_of(v) for v in node.values), key=len, default="").strip(" :")
    return ""


def exposed() -> set[str]:
    """Prometheus' names for all that servers make."""
    made = ((name, text_of(c.args[0])) for name, c in calls() if name in MADE and c.args)
    return {f"{text}{MADE[name]}" for name, text in made if text.startswith("headwater_")}


def warned() -> set[str]:
    """What is said at level warning or error."""
    givers = ("log.warning", "log.error", "_log.warning", "self._complain")
    said = {text_of(c.args[0]) for _, c in calls() if c.args and ast.unparse(c.func) in givers}
    return {re.split(r"[;(%]| by its", s)[0].strip() if len(s) > 60 or "%" in s else s for s in said if s}


def test_every_metric_of_prometheus_is_explained() -> None:
    found = {cell.strip("`") for cell in first_cells("Prometheus")}
    assert exposed() == found
    assert len(found) >= 12


def test_every_kind_of_metric_document_is_explained() -> None:
    assert sorted(cell.strip("`") for cell in first_cells("Metric documents")) == sorted(KINDS)


def test_every_exit_code_is_explained_here_and_in_the_help() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.HeadwaterError)]
    known = {0, 130, EXIT_CODE, *FOR_A_PERSON, *(k.exit_code for k in kinds)}
    assert {int(cell) for cell in first_cells("Exit codes")} == known
    told = {int(n) for n in re.findall(r"\b(\d+) \w", str(app.info.epilog))}
    assert told == known - {126, 127}


def test_the_page_says_which_codes_a_supervisor_starts_again() -> None:
    lines = [line.strip("| ") for line in section("Exit codes").splitlines() if re.match(r"\| \d", line)]
    rows = [re.split(r"\s*\|\s*", line) for line in lines]
    again = {int(row[0]) for row in rows if row[-1] == "yes"}
    assert again == {errors.BrokerError.exit_code, errors.ElasticError.exit_code, EXIT_CODE}
    assert {int(row[0]) for row in rows if row[-1] == "no"} == {0, 130, *FOR_A_PERSON}


def test_every_warning_is_explained() -> None:
    table = section("Warnings in the log")
    assert [text for text in sorted(warned()) if text not in table] == []
    assert len(warned()) > 15


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_section_with_a_command(alert: str) -> None:
    bodies = re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    named = {title.lower().replace(" ", "-"): body for title, body in bodies}
    assert "```bash\nheadwater " in named[alert]


def test_links_within_the_page_lead_somewhere() -> None:
    titles = {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in re.findall(r"^##+ (.*)$", PAGE, re.M)}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= titles
    for page, anchor in re.findall(r"\]\(([\w./-]+\.md)(?:#([\w-]+))?\)", PAGE):
        text = (ROOT / "docs" / page).read_text()
        there = {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in re.findall(r"^#+ (.*)$", text, re.M)}
        assert not anchor or anchor in there, f"{page}#{anchor}"
