"""The report as JUnit XML, which every CI shows: a test case a threshold, and one for the run itself."""

from __future__ import annotations

import time
from xml.etree import ElementTree

from gaggle.report import change, verdict
from gaggle.report.escaping import xml
from gaggle.report.model import Judgement, Report, counted

Element = ElementTree.Element


def render(report: Report) -> str:
    """Return the whole report. A doubt is a failure where --strict was given, and a remark otherwise."""
    suite = Element("testsuite", name="gaggle", time=f"{report.duration:.3f}", hostname="")
    if report.phases:
        suite.set("timestamp", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(report.phases[0].started)))
    if text := change.sentence(report):
        properties = ElementTree.SubElement(suite, "properties")
        ElementTree.SubElement(properties, "property", name="baseline", value=xml(text))
    cases = [_run(report), _trust(report), *(_threshold(report, item) for item in report.thresholds)]
    suite.extend(cases)
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": 0,
    }
    suites = Element("testsuites", name=xml(report.load_test) or "gaggle", time=f"{report.duration:.3f}")
    for name, count in counts.items():
        suite.set(name, str(count))
        if name != "skipped":
            suites.set(name, str(count))
    suites.append(suite)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


def _case(report: Report, name: str, group: str) -> Element:
    return Element("testcase", name=xml(name), classname=f"gaggle.{group}", time=f"{report.duration:.3f}")


def _run(report: Report) -> Element:
    case = _case(report, "something succeeded", "run")
    worst = verdict.worst(report)
    if report.nothing_succeeded:
        ElementTree.SubElement(case, "failure", message="nothing succeeded", type="run").text = xml(worst)
    else:
        requests = sum(row.count for row in report.snapshot.requests())
        ElementTree.SubElement(case, "system-out").text = xml(f"{counted(requests, 'request')}. {worst}".rstrip())
    return case


def _trust(report: Report) -> Element:
    case = _case(report, "the numbers can be believed", "run")
    doubts = "\n".join(map(xml, report.doubts))
    if doubts and report.options.get("strict"):
        ElementTree.SubElement(case, "failure", message=doubts, type="trust").text = doubts
    elif doubts:
        ElementTree.SubElement(case, "system-out").text = doubts
    return case


def _threshold(report: Report, judgement: Judgement) -> Element:
    """Return its test case: a failure where it was crossed, an error where nothing was measured."""
    case = _case(report, judgement.text, "threshold")
    if not judgement.holds:
        kind = "error" if judgement.missing else "failure"
        message = xml(verdict.judged(judgement))
        ElementTree.SubElement(case, kind, message=message, type="threshold").text = xml(judgement.text)
    else:
        ElementTree.SubElement(case, "system-out").text = xml(verdict.judged(judgement))
    return case
