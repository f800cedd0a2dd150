"""`stop`: end the daemon; runs in progress are cancelled and their trees put back."""

import click

from qcn_agent.daemon import client


@click.command("stop")
@click.option("--if-idle", is_flag=True, help="Only when nothing runs.")
def command(if_idle: bool) -> int:
    """Stop the daemon. Runs in progress are cancelled, their trees put back."""
    connection = client.connect_to_running()
    if connection is None:
        click.echo("no daemon is running")
        return 0
    with connection:
        stopping = connection.request("qcn/stop", {"if_idle": if_idle})["stopping"]
    if not stopping:
        click.echo("the daemon is busy and goes on")
        return 1
    client.wait_until_gone()
    click.echo("stopped")
    return 0
