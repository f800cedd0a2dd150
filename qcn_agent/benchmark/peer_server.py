"""A llama-server in its own process: `python peer_server.py '{"path": …, "n_ctx": …}'`. Needs only `xllamacpp`.

It prints one JSON line with its address, and ends when its standard input is closed.
"""

import json
import os
import sys


def main() -> None:
    """Serve until the parent lets go."""
    import xllamacpp  # type: ignore[import-not-found,import-untyped,unused-ignore]

    settings = json.loads(sys.argv[1])
    params = xllamacpp.CommonParams()
    params.model.path = settings.pop("path")
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.pop("n_threads")
    for name, value in settings.items():
        if not hasattr(params, name):
            sys.exit(f"this xllamacpp has no setting {name}")
        setattr(params, name, value)
    server = xllamacpp.Server(params)
    sys.stdout.write(json.dumps({"url": server.listening_address, "version": xllamacpp.__version__}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # not a word from threads that still run


if __name__ == "__main__":
    main()
