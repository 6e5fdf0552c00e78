"""Turns the log of scripts/test.sh into JUnit and one page for people.

    report.py LOG FOLDER        writes FOLDER/junit.xml and FOLDER/index.html
"""

import html
import pathlib
import re
import sys
from xml.sax.saxutils import escape, quoteattr

log, folder = pathlib.Path(sys.argv[1]).read_text(errors="replace"), pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)

# A suite is what one `Running` line or one script begins; a test is (name, outcome, what it printed when it failed).
suites, current = {}, None
for line in log.splitlines():
    if found := re.match(r"\s+Running (?:unittests )?(\S+) \((\S+?)-[0-9a-f]+\)", line):
        current = suites.setdefault(f"{pathlib.Path(found[2]).name} {found[1]}", [])
    elif found := re.match(r"\s+Doc-tests (\S+)", line):
        current = suites.setdefault(f"{found[1]} documentation", [])
    elif found := re.match(r"test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", line):
        if current is not None:
            current.append((found[1], found[2]))
    elif found := re.match(r"(ok|FAILED): (.+)", line):
        suites.setdefault("scripts with real programs", []).append((found[2], found[1]))
# What a test printed stands between its headline and the next one.
said = dict(re.findall(r"^---- (\S+) stdout ----\n(.*?)(?=^---- |^failures:|\Z)", log, re.S | re.M))

tests = [outcome for suite in suites.values() for _, outcome in suite]
failed, ignored = tests.count("FAILED"), tests.count("ignored")
not_run = re.findall(r"^!!! NOT RUN.*", log, re.M)

xml = [f'<testsuites tests="{len(tests)}" failures="{failed}">']
for suite, cases in suites.items():
    bad = sum(outcome == "FAILED" for _, outcome in cases)
    xml.append(f'<testsuite name={quoteattr(suite)} tests="{len(cases)}" failures="{bad}">')
    for name, outcome in cases:
        inner = {"ok": "", "ignored": "<skipped/>"}.get(outcome, f"<failure>{escape(said.get(name, ''))}</failure>")
        xml.append(f"<testcase classname={quoteattr(suite)} name={quoteattr(name)}>{inner}</testcase>")
    xml.append("</testsuite>")
# Control characters are no XML.
text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", "\n".join([*xml, "</testsuites>"]))
(folder / "junit.xml").write_text(text)

rows = []
for suite, cases in suites.items():
    bad = [name for name, outcome in cases if outcome == "FAILED"]
    lines = "".join(f"<li class={outcome}>{html.escape(name)}" for name, outcome in cases)
    texts = "".join(f"<h4>{html.escape(name)}</h4><pre>{html.escape(said.get(name, ''))}</pre>" for name in bad)
    rows.append(
        f"<details{' open' if bad else ''}><summary class={'FAILED' if bad else 'ok'}>{html.escape(suite)}: {len(cases) - len(bad)} of "
        f"{len(cases)}</summary>{texts}<ul>{lines}</ul></details>"
    )
(folder / "index.html").write_text(
    "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>foreshock: tests</title>"
    "<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:1em auto;padding:0 1em}li{overflow-wrap:anywhere}"
    "pre{overflow:auto;background:#f4f4f4;padding:.5em}.ok{color:#176b2c}.FAILED{color:#b00020;font-weight:bold}.ignored{color:#666}</style>"
    f"<h1>{len(tests) - failed - ignored} passed, {failed} failed, {ignored} ignored</h1>"
    + "".join(f"<p class=FAILED>{html.escape(line)}" for line in not_run)
    + "".join(rows)
)
print(f"{folder}/index.html, {folder}/junit.xml: {len(tests)} tests in {len(suites)} suites")
