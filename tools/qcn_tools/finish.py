"""Tool `finish`: the model says that it is done."""

from collections.abc import Mapping
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec


class Finish:
    """Answers `finished` {summary}; what follows from it is the agent's business."""

    spec = ToolSpec(
        "finish",
        "End the work: when the tests are green, or when the issue can't be solved here. Call nothing after it.",
        (
            Parameter(
                "summary",
                "string",
                "In a sentence or two: what was wrong and what you changed, or why it can't be solved.",
            ),
        ),
    )

    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        return Observation("finished", {"summary": arguments["summary"]})
