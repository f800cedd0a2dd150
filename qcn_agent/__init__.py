"""qcn-agent: a coding agent that runs on your own machine."""

__version__ = "0.1.0"
