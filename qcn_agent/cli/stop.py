"""`stop`: end the daemon; runs in progress are cancelled and their trees put back."""

import click

from qcn_agent import paths
from qcn_agent.daemon import client


@click.command("stop")
@click.option("--if-idle", is_flag=True, help="Only when nothing runs.")
@click.option("--forget", is_flag=True, help="Then delete what the model has read from the disk, of all projects.")
def command(if_idle: bool, forget: bool) -> int:
    """Stop the daemon. Runs in progress are cancelled, their trees put back.

    The daemon keeps what conversations have in common on disk, so that nothing is read twice; --forget deletes it.
    """
    is_stopped = _stop(if_idle=if_idle)
    if is_stopped and forget:
        click.echo(f"forgotten: {_purge():,} files")
    return 0 if is_stopped else 1


def _stop(*, if_idle: bool) -> bool:
    connection = client.connect_to_running()
    if connection is None:
        click.echo("no daemon is running")
        return True
    with connection:
        stopping = connection.request("qcn/stop", {"if_idle": if_idle})["stopping"]
    if not stopping:
        click.echo("the daemon is busy and goes on")
        return False
    client.wait_until_gone()
    click.echo("stopped")
    return True


def _purge() -> int:
    """Delete the files of the KV cache, of all models."""
    files = [file for file in paths.kv_cache_dir().rglob("*") if file.is_file()]
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)
