"""Entry point of the `qcn-agent` command."""

import sys


def main() -> None:
    """Run the command line. Heavy modules load only inside the command that needs them."""
    from qcn_agent.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
