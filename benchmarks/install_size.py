"""How large an installation is that only predicts: python benchmarks/install_size.py

Builds the wheel of this tree and installs it with the dependencies of the core alone into a fresh
virtual environment under build/. Counts every byte of it, pip and the model included.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET_MB = 550


def run(*command: str | Path) -> None:
    """Run a command, or end with the last it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise SystemExit(f"{' '.join(words[:4])} … failed: {said[-1] if said else 'no word'}")


def measure_mb(folder: Path) -> float:
    """Return the size of all files below a folder in 10^6 bytes, links not followed."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(file.stat().st_size for file in files) / 1e6


def install(folder: Path) -> Path:
    """Return the packages' folder of a fresh environment with the core."""
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, ROOT)
    wheel = next(folder.glob("pneumoscope-*.whl"))
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-c", ROOT / "constraints.txt", wheel)
    return next((folder / "venv" / "lib").glob("python*")) / "site-packages"


def main() -> None:
    """Install, measure, and fail where it is too large or brings torch."""
    parser = argparse.ArgumentParser(description="The size of a core installation.")
    parser.add_argument("--bundle", type=Path, help="count this model where the wheel has none")
    options = parser.parse_args()
    folder = ROOT / "build" / "install-size"
    packages = install(folder)
    whole = measure_mb(folder / "venv")
    parts = {path.name: measure_mb(path) for path in packages.iterdir() if path.is_dir()}
    for name in sorted(parts, key=parts.__getitem__, reverse=True)[:8]:
        print(f"{name:24} {parts[name]:>7.1f} MB")
    if (packages / "pneumoscope" / "weights").is_dir():
        print("The model in the box is included.")
    elif options.bundle:
        whole += measure_mb(options.bundle)
        print(f"The wheel holds no model: {measure_mb(options.bundle):.1f} MB of one are added.")
    else:
        print("The wheel holds no model, and none was named with --bundle.")
    torch = (packages / "torch").exists()
    print(f"torch is {'present' if torch else 'absent'}")
    print(f"{whole:.0f} MB, at most {TARGET_MB} are allowed")
    sys.exit(torch or whole > TARGET_MB)


if __name__ == "__main__":
    main()
