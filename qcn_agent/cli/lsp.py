"""`lsp`: what an editor starts. `__main__` goes past this, so that it does not wait for click."""

import click


@click.command("lsp")
def command() -> int:
    """Speak LSP over standard input and output. An editor runs this; there is nothing to type.

    The daemon behind it is shared by all editors and terminals, and started when there is none.
    """
    from qcn_lsp import shim

    return shim.main()
