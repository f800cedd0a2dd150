"""What the model may do to a repository: read, search, edit, run tests."""
