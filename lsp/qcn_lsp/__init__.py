"""The language server: one pygls server a connection (`server.py`), and the shim that editors start (`shim.py`).

Imports nothing: the shim does without pygls.
"""
