"""Runs every check on the template as it is (it must pass) and on every planted mistake (it must be noticed).

    python tests/template/check.py FOLDER      FOLDER gets the transformed templates, for cfn-lint
"""

import copy
import json
import sys
from pathlib import Path

import breaks
import structure
import tables
from resolve import Resolver
from transform import ROOT, VARIANTS, raw, transformed


def problems_of(check, template, parameters):
    """What a check says; a check that falls over the template has noticed something too, and says what."""
    try:
        return list(check(template, Resolver(template, parameters).resources()))
    except (KeyError, IndexError, TypeError, ValueError, StopIteration) as error:
        return [f"the template has not the expected shape: {error!r}"]


def event_problems():
    """Every event file is JSON and belongs to a function of the template."""
    template = raw()
    folders = {Path(r["Properties"]["CodeUri"]).name for r in template["Resources"].values() if r["Type"] == "AWS::Serverless::Function"}
    for path in sorted((ROOT / "events").rglob("*.json")):
        if path.relative_to(ROOT).parts[1] not in folders:
            yield f"{path.relative_to(ROOT)} is for no function"
        try:
            json.loads(path.read_text())
        except ValueError as error:
            yield f"{path.relative_to(ROOT)}: {error}"


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    passed, failures = 0, []

    def judge(name, problems):
        nonlocal passed
        if problems:
            failures.extend(f"{name}: {problem}" for problem in problems)
        else:
            passed += 1

    for variant, parameters in VARIANTS.items():
        template = transformed(parameters)
        (folder / f"{variant}.json").write_text(json.dumps(template, indent=1))
        judge(f"{variant} parameters", list(structure.parameter_problems(template, parameters)))
        for check in structure.CHECKS:
            judge(f"{variant} {check.__name__}", problems_of(check, template, parameters))
    clean = transformed(VARIANTS["defaults"])
    for check, mistake, change in breaks.BREAKS:
        broken = copy.deepcopy(clean)
        change(broken)
        noticed = problems_of(check, broken, VARIANTS["defaults"])
        judge(f"planted: {mistake}", [] if noticed else [f"{check.__name__} did not notice"])
    unproven = [check.__name__ for check in structure.CHECKS if check not in [entry[0] for entry in breaks.BREAKS]]
    judge("every check is shown to notice", [f"{name} has no planted mistake" for name in unproven])
    judge("tables of DEPLOYMENT.md", list(tables.problems(raw())))
    judge("events", list(event_problems()))
    for failure in failures:
        print(failure)
    print(f"template: {passed} passed, {len(failures)} failed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
