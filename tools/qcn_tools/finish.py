"""Tool `finish`: the model says that it is done."""

from collections.abc import Mapping
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec


class Finish:
    """Answers `finished` {summary}; what follows from it is the agent's business."""

    spec = ToolSpec(
        "finish",
        "Say that the work is done.",
        (Parameter("summary", "string", "What was wrong and what was changed, in a sentence or two."),),
    )

    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        return Observation("finished", {"summary": arguments["summary"]})
