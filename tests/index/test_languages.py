"""Which language a file is in."""

import pytest

from qcn_agent.index.languages import BY_NAME, LANGUAGES, TEXT, language_of
from qcn_agent.index.syntax import parse, tag_matches


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", "python"),
        ("a/b.PYI", "python"),
        ("x.mjs", "javascript"),
        ("x.test.ts", "typescript"),
        ("App.tsx", "tsx"),
        ("main.go", "go"),
        ("lib.rs", "rust"),
        ("A.java", "java"),
        ("a.h", "c"),
        ("a.hpp", "cpp"),
        ("Rakefile", "ruby"),
        ("build.gradle.kts", "kotlin"),
        ("README.md", TEXT),
        (".py", TEXT),
        ("Makefile", TEXT),
    ],
)
def test_language_follows_from_the_name(path: str, language: str) -> None:
    """Extensions decide, in any case of letters; some names are known; a hidden file's name is no extension."""
    assert language_of(path) == language


@pytest.mark.parametrize(
    ("head", "language"),
    [
        (b"#!/bin/sh\n", "bash"),
        (b"#!/usr/bin/env python3\nimport os", "python"),
        (b"#!/usr/bin/env -S python3.12 -u\n", "python"),
        (b"#!/usr/bin/env -S FOO=1 node\n", "javascript"),
        (b"#! /usr/bin/lua5.4\n", TEXT),
        (b"#!\n", TEXT),
        (b"hello", TEXT),
        (b"#!" + b"\xff" * 400, TEXT),
    ],
)
def test_a_file_without_extension_is_known_by_its_first_line(head: bytes, language: str) -> None:
    """The `#!` line names a program, behind env and its options, with or without a version."""
    assert language_of("bin/tool", head) == language


def test_an_extension_beats_the_first_line() -> None:
    """A text file that shows a script is text."""
    assert language_of("notes.txt", b"#!/bin/sh") == TEXT


def test_no_extension_belongs_to_two_languages() -> None:
    """Else the order of a table would decide."""
    extensions = [extension for language in LANGUAGES for extension in language.extensions]

    assert len(extensions) == len(set(extensions))


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_grammar_loads_with_its_queries(name: str) -> None:
    """A query that names a node which its grammar does not have would fail here."""
    tree = parse(b"\n", name)

    assert tree is not None
    assert tag_matches(tree, name) == []
