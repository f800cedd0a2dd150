"""`stop`: end the daemon; runs in progress are cancelled and their trees put back."""

import click

from qcn_agent import paths
from qcn_agent.cli.project import named_folder
from qcn_agent.daemon import client
from qcn_agent.errors import UsageError


@click.command("stop")
@click.option("--if-idle", is_flag=True, help="Only when nothing runs.")
@click.option("--forget", is_flag=True, help="Then delete what the model has read from the disk, of all projects.")
@click.option("--workspace", metavar="DIR", help="With --forget: only of this project, which may be gone already.")
def command(if_idle: bool, forget: bool, workspace: str | None) -> int:
    """Stop the daemon. Runs in progress are cancelled, their trees put back.

    The daemon keeps what conversations have in common on disk, so that nothing is read twice; --forget deletes it. What
    several projects share, as the description of the tools, stays as long as one of them is not forgotten.
    """
    from qcn_agent.context.token_cache import forget_caches
    from qcn_agent.engine.ownership import forget_files

    if workspace is not None and not forget:
        raise UsageError("--workspace says what to forget", hint="qcn-agent stop --forget --workspace DIR")
    project = paths.project_tag(named_folder(workspace)) if workspace is not None else None
    is_stopped = _stop(if_idle=if_idle)
    if is_stopped and forget:
        num_files = forget_files(paths.kv_cache_dir(), project) + forget_caches(paths.token_cache_dir(), project)
        click.echo(f"forgotten: {num_files:,} files")
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
