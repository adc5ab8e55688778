"""What a person reads, and what a CI system reads."""

import re
import xml.etree.ElementTree as ET

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")


def lines(result) -> list:
    word = "pass" if result.passed else "FAIL"
    out = [f"{word}  {result.case.folder.name}: {result.case.description} ({result.seconds:.1f} s)"]
    if result.unreadable:
        out.append(f"    {result.unreadable}")
    for failure in result.failures:
        out.append(f"    {failure.lines[0]}")
        out += failure.lines[1:]
    if result.kept:
        out.append(f"    files of this run: {result.kept}")
    return out


def junit(path, results, unreadable) -> None:
    """results: of the cases that could be read; unreadable: {folder: why}."""
    failed = sum(1 for r in results if r.failures)
    errors = len(unreadable) + sum(1 for r in results if r.unreadable)
    suite = ET.Element("testsuite", name="replay", tests=str(len(results) + len(unreadable)),
                       failures=str(failed), errors=str(errors),
                       time=f"{sum(r.seconds for r in results):.3f}")
    for result in results:
        case = ET.SubElement(suite, "testcase", classname=f"replay.{result.case.folder.name}",
                             name=_NOT_XML.sub("?", result.case.description),
                             time=f"{result.seconds:.3f}")
        if result.unreadable:
            ET.SubElement(case, "error", message=_NOT_XML.sub("?", result.unreadable))
        for failure in result.failures:
            element = ET.SubElement(case, "failure", message=_NOT_XML.sub("?", failure.lines[0]))
            element.text = _NOT_XML.sub("?", "\n".join(failure.lines))
    for folder, why in unreadable.items():
        case = ET.SubElement(suite, "testcase", classname=f"replay.{folder.name}", name=str(folder))
        ET.SubElement(case, "error", message=_NOT_XML.sub("?", why))
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
