"""Write requirements.txt from pyproject.toml: python scripts/sync_requirements.py [--check]"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
_HEADER = (
    "# Generated from pyproject.toml by scripts/sync_requirements.py: core, evidence, train.\n"
)


def render() -> str:
    """Return the text: what training and evaluation need, without the project itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["evidence"], *extras["train"]]
    return _HEADER + "\n".join(r for r in wanted if not r.startswith("pneumoscope")) + "\n"


def main() -> int:
    """Write the file, or say with --check whether it is up to date."""
    path = ROOT / "requirements.txt"
    if "--check" in sys.argv:
        return 0 if path.read_text(encoding="utf-8") == render() else 1
    path.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
