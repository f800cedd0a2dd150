"""The demo: a copy of a small project with a red test, the real command, a green test. Leaves nothing behind."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ISSUE = "Bookings that touch, like 1-4 and 4-5, are not merged. Fix merge_intervals in bookings.py"
NEXT = """
What next
  qcn-agent fix "…" in a project of yours: the embedded model is tiny and mends textbook slips, no more.
  The real thing is Qwen3-Coder-Next: download a GGUF of it (46 GB and up), then
      qcn-agent fix "…" --model /path/to/Qwen3-Coder-Next-Q4_K_M-00001-of-00004.gguf
  README.md says how to build for CUDA, Metal or Vulkan, and which settings your cards need.
"""


def main() -> int:
    """Run the demo; 0 when the test is green at the end."""
    with tempfile.TemporaryDirectory(prefix="qcn-demo-") as folder:
        project = Path(folder) / "bookings"
        shutil.copytree(HERE / "project", project, ignore=shutil.ignore_patterns("__pycache__"))
        bin_dir = Path(sys.executable).parent
        env = {**os.environ, "QCN_AGENT_HOME": f"{folder}/home", "PATH": f"{bin_dir}:{os.environ['PATH']}"}
        env.pop("VIRTUAL_ENV", None)
        print("── a project with a failing test")
        run_tests(project, env)
        print(f'\n── qcn-agent fix "{ISSUE}"')
        command = [str(bin_dir / "qcn-agent"), "fix", ISSUE, *sys.argv[1:]]
        code = subprocess.run(command, cwd=project, env=env, check=False).returncode
        subprocess.run([str(bin_dir / "qcn-agent"), "stop"], env=env, check=False, stdout=subprocess.DEVNULL)
        if code:
            print(f"\nThe model did not fix it this time (exit code {code}).")
            return code
        print("\n── the same tests now")
        green = run_tests(project, env)
        print(NEXT)
        return 0 if green == 0 else 1


def run_tests(project: Path, env: dict[str, str]) -> int:
    """Show the project's own test run."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    return subprocess.run(command, cwd=project, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
