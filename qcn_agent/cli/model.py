"""The model that a command line names. Standard library only."""

from pathlib import Path

from qcn_agent.errors import ModelNotFoundError, UsageError

_HINT = "name a GGUF file (the first part of a split one), or leave --model out for the daemon's own"


def given_model(model: str | None) -> str:
    """The absolute path of the file that `--model` names; empty without it.

    Raises UsageError when that is no file, ModelNotFoundError when there is nothing.
    """
    if model is None:
        return ""
    if not model.strip():
        raise UsageError("--model is empty", hint=_HINT)
    try:
        path = Path(model).expanduser().resolve()
        if path.is_file():
            return str(path)
        exists = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"--model {model}: {error}", hint=_HINT) from error
    if not exists:
        raise ModelNotFoundError(f"--model: there is no {path}", hint=_HINT)
    raise UsageError(f"--model: {path} is {'a folder' if path.is_dir() else 'no ordinary file'}", hint=_HINT)
