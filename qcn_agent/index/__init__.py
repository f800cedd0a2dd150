"""What a workspace holds: files, definitions, references, imports and words, kept in a database outside of it."""
