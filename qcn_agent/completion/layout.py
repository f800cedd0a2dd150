"""Which order a prompt has, where the user has not said."""

from collections.abc import Mapping

from qcn_agent.completion.prompt import Layout

WORSE_WITH_SPM: tuple[str, ...] = ()  # by name; `make bench-fim` measures it. The embedded model is not


def choose(setting: str, metadata: Mapping[str, str]) -> Layout:
    """`setting` unless it is "auto"; else the SPM-like order, except for models known to be worse with it.

    `metadata`: the scalars of the model's header.
    """
    if setting != "auto":
        return "psm" if setting == "psm" else "spm"
    name = metadata.get("general.name", "").lower()
    return "psm" if any(known in name for known in WORSE_WITH_SPM) else "spm"
