"""Files that a person saved after the agent had changed them: what is in them, and what to do."""

from pathlib import Path

from qcn_agent.agent.journal import Journal


def mixed_warnings(journal: Journal) -> list[str]:
    """A warning for each file of `journal` that holds somebody else's work too; it was left as it is."""
    return [_warning(journal.workspace / name, name, copy) for name, copy in journal.mixed().items()]


def _warning(path: Path, name: str, copy: Path | None) -> str:
    if not path.exists():
        was = "deleted by somebody else after the agent had changed it; it stays deleted"
    else:
        was = "saved by somebody else after the agent had changed it: it may hold both changes, and was left as it is"
    original = f"As the run found it: {copy}" if copy else "The agent had created it"
    return f"{name} was {was}. qcn-agent undo can't separate the two; look through it yourself. {original}"
