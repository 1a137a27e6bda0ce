"""docs/performance.md says what was measured."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_its_tables_are_those_of_the_measured_figures():
    script = DOCS / "pictures/draw_performance.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0
