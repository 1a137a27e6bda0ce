"""Counts the tests of a JUnit file: `count_tests.py FILE STATUS` prints "passed failed skipped".

STATUS is the runner's exit status: where it is not 0 and the file shows no
failure, or there is no file, one failure is counted.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree


def count(path: Path) -> tuple[int, int, int]:
    total = failed = skipped = 0
    if path.exists():
        for suite in ElementTree.parse(path).iter("testsuite"):
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0)) + int(suite.get("disabled", 0))
    return total - failed - skipped, failed, skipped


if __name__ == "__main__":
    passed, failed, skipped = count(Path(sys.argv[1]))
    if failed == 0 and sys.argv[2] != "0":
        failed = 1
    print(passed, failed, skipped)
