"""Entry point of the `qcn-agent` command."""

import sys


def main() -> None:
    """Run the command line. Heavy modules load only inside the command that needs them."""
    try:
        if sys.argv[1:] == ["lsp"]:  # it has to be there at once: nothing is imported that it does not need
            from qcn_lsp import shim

            sys.exit(shim.main())
        from qcn_agent.cli.main import run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # so early that no command had begun
        sys.exit(130)


if __name__ == "__main__":
    main()
