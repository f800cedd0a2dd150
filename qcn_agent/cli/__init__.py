"""The `qcn-agent` command: one file a command, each imported only when it is called."""
