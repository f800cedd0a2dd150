"""What import statements name."""

import pytest

from qcn_agent.index.imports import MAX_NAMES, Import, import_key, pack_imports, read_imports, unpack_imports


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", "import a.b, c as d", [("a.b", ()), ("c", ())]),
        ("python", "from a.b import c as d, e", [("a.b", ("c", "e"))]),
        ("python", "from . import x", [(".", ("x",))]),
        ("python", "from ..pkg.mod import (\n    x,  # why\n    y,\n)", [("..pkg.mod", ("x", "y"))]),
        ("python", "from a import *", [("a", ("*",))]),
        (
            "javascript",
            'import React, { useState as s, useRef } from "react"',
            [("react", ("React", "useState", "useRef"))],
        ),
        ("javascript", "const { a, b: c } = require('./x/y.js')", [("./x/y.js", ("a", "b"))]),
        ("typescript", "import type { Foo } from '../foo'", [("../foo", ("Foo",))]),
        ("typescript", "export * from './all'", [("./all", ())]),
        ("go", 'alias "github.com/u/repo/pkg"', [("github.com/u/repo/pkg", ())]),
        ("rust", "use crate::a::b::{self, C, d::E as F};", [("crate::a::b", ("self", "C", "d"))]),
        ("rust", "pub use std::fmt::Display;", [("std::fmt", ("Display",))]),
        ("rust", "mod parser;", [("self::parser", ())]),
        ("java", "import static org.x.Foo.bar;", [("org.x.Foo.bar", ("bar",))]),
        ("java", "import java.util.*;", [("java.util", ("*",))]),
        ("scala", "import a.b.{C, D}", [("a.b", ("C", "D"))]),
        ("c", "#include <sys/types.h>", [("sys/types.h", ())]),
        ("cpp", '#include "util/text.hpp"', [("util/text.hpp", ())]),
        ("csharp", "using System.Text;", [("System.Text", ("Text",))]),
        ("ruby", "require_relative 'lib/thing'", [("lib/thing", ())]),
        ("php", "use App\\Models\\User;", [("App.Models.User", ("User",))]),
        ("php", "require_once 'lib/x.php'", [("lib/x.php", ())]),
        ("bash", "source ./lib.sh", [("./lib.sh", ())]),
        ("bash", "source", []),
        ("go", "broken", []),
    ],
)
def test_an_import_is_read(language: str, text: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    """Module and names, aliases left out, whatever the statement's layout."""
    found = read_imports(language, text, 7)

    assert [(one.module, one.names) for one in found] == expected
    assert all(one.line == 7 for one in found)


def test_names_have_a_limit() -> None:
    """A generated list of imports does not fill the database."""
    text = "from a import " + ", ".join(f"n{number}" for number in range(500))

    assert len(read_imports("python", text, 1)[0].names) == MAX_NAMES


@pytest.mark.parametrize(
    ("module", "key"),
    [
        ("a.b.c", "c"),
        ("./b/c.js", "c"),
        ("x/y/c.h", "c"),
        ("crate::b::c", "c"),
        ("..", ""),
        ("..pkg", "pkg"),
        ("c", "c"),
        ("./c", "c"),
        ("@scope/name", "name"),
        ("a/b/", "b"),
        ("./my.service", "service"),
    ],
)
def test_the_key_of_a_module_is_its_last_part(module: str, key: str) -> None:
    """Under it the importers of a file are looked up."""
    assert import_key(module) == key


def test_imported_names_are_keys_too() -> None:
    """`from package import module` imports the file module."""
    assert read_imports("python", "from pkg import mod, other", 1)[0].keys == ("pkg", "mod", "other")


def test_imports_are_packed_with_all_their_names() -> None:
    """None take no bytes."""
    imports = (Import("a.b", ("c", "d"), 1), Import("e", (), 2), Import(".", ("*",), 70_000))

    assert unpack_imports(pack_imports(imports)) == imports
    assert pack_imports(()) == b""
    assert unpack_imports(b"") == ()
