"""Every word we say to a model: profiles (what to say) and ChatML (how a turn looks on the wire)."""

from qcn_prompts.chatml import Piece
from qcn_prompts.profile import Profile, ToolLike, load, names

__all__ = ["Piece", "Profile", "ToolLike", "load", "names"]
