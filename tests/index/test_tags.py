"""What is found in a file, language by language."""

import pytest

from qcn_agent.index.tags import MAX_LINES_OF_A_NAME, FileTags, tag_file
from qcn_agent.index.words import FIELDS, WordSplitter

PYTHON = '''"""About the module."""
import os
from a.b import helper as h

LIMIT = 3  # how many


@decorate(1)
class Base(Parent):
    """What it is.

    More.
    """

    field: int = 0

    def method(self, x: Thing) -> "str":
        # a comment inside
        return self.other(x).name + "some literal"


def top(a,
        b=2):
    def inner():
        return top(a)
    return h.call(inner)
'''


def tags_of(source: str, language: str, path: str = "dir/file_name") -> FileTags:
    """The tags of a text."""
    return tag_file(path, source.encode(), language, WordSplitter())


def words(tags: FileTags, field: str) -> dict[str, int]:
    """The words of one field."""
    return tags.words[FIELDS.index(field)]


def test_python_definitions_have_scope_span_and_docs() -> None:
    """In the order of the text; decorators belong to the definition, the docstring's first line is its doc."""
    definitions = tags_of(PYTHON, "python").definitions

    assert [(one.qualified, one.kind, one.start_line, one.end_line) for one in definitions] == [
        ("LIMIT", "variable", 5, 5),
        ("Base", "class", 8, 19),
        ("Base.field", "field", 15, 15),
        ("Base.method", "function", 17, 19),
        ("top", "function", 22, 26),
        ("top.inner", "function", 24, 25),
    ]
    base, method, top = definitions[1], definitions[3], definitions[4]
    assert base.doc == "What it is."
    assert method.signature == 'def method(self, x: Thing) -> "str":'
    assert top.signature == "def top(a, b=2):"
    assert PYTHON.encode()[top.body_byte :].startswith(b"def inner")
    assert PYTHON.encode()[base.start_byte : base.end_byte].startswith(b"@decorate")


def test_python_references_have_lines() -> None:
    """Calls, attributes, base classes, annotations and decorators."""
    tags = tags_of(PYTHON, "python")

    assert tags.references == {
        "decorate": (8,),
        "Parent": (9,),
        "int": (15,),
        "Thing": (17,),
        "other": (19,),
        "name": (19,),
        "top": (25,),
        "call": (26,),
    }
    assert tags.reference_counts["top"] == 1


def test_python_imports_are_read() -> None:
    """Module, names, line."""
    found = tags_of(PYTHON, "python").imports

    assert [(one.module, one.names, one.line) for one in found] == [("os", (), 2), ("a.b", ("helper",), 3)]


def test_words_are_counted_by_field() -> None:
    """Docs are docstrings and comments, strings all other literals, body is the code around them."""
    tags = tags_of(PYTHON, "python")

    assert words(tags, "path") == {"dir": 1, "file_name": 1, "file": 1, "name": 1}
    assert words(tags, "definitions")["method"] == 1
    assert words(tags, "docs")["comment"] == 1
    assert words(tags, "docs")["module"] == 1
    assert words(tags, "strings") == {"some": 1, "literal": 1, "str": 1}
    assert words(tags, "body")["top"] == 2
    assert "literal" not in words(tags, "body")
    assert "comment" not in words(tags, "body")


CASES = {
    "javascript": (
        """// Adds numbers.
export function add(a, b) { return a + b; }
const mul = (a, b) => helper(a) * b;
class Store extends Base {
  size = 0;
  put(key) { this.map.set(key, `t ${key}`); }
}
exports.later = function () { return new Thing("text"); };
const x = require('./other');
import('./lazy');
""",
        {"add", "mul", "Store", "Store.size", "Store.put", "later", "x"},
        {"helper", "Base", "map", "set", "Thing"},
        {"./other", "./lazy"},
    ),
    "typescript": (
        """import { A } from "./a";
/** Shape of it. */
export interface Shape extends A { area(): number; }
export type Id = string | Other;
export enum Color { Red }
export abstract class Box<T> implements Shape {
  private side: Length = 0;
  area(): number { return this.side.value; }
}
namespace Inner { export const k: Key = make<Arg>(); }
""",
        {"Shape", "Shape.area", "Id", "Color", "Box", "Box.side", "Box.area", "Inner"},
        {"Shape", "Length", "value", "Key", "Arg", "make"},
        {"./a"},
    ),
    "tsx": (
        """import React from 'react';
export const App = (props: Props) => <Panel title="x"><Row/></Panel>;
""",
        {"App"},
        {"Props"},
        {"react"},
    ),
    "go": (
        """package main

import (
	"fmt"
	u "example.org/mod/util"
)

// Server serves.
type Server struct { name string }

type Doer interface { Do(x Thing) error }

const Max = 3

// Run runs.
func (s *Server) Run(n int) error { return u.Check(s.name, "lit") }

func helper() { fmt.Println(Max) }
""",
        {"Server", "Doer", "Doer.Do", "Max", "Server.Run", "helper"},
        {"Thing", "Check", "Println", "name"},
        {"fmt", "example.org/mod/util"},
    ),
    "rust": (
        """use crate::a::Thing;
mod parser;
/// A point.
pub struct Point { x: Coord }
pub trait Draw { fn draw(&self); }
impl Draw for Point {
    fn draw(&self) { self.x.go(); println!("hi"); helper::run(); }
}
macro_rules! mac { () => {} }
const N: usize = 1;
enum Kind { A }
""",
        {"Point", "Draw", "Draw.draw", "Point.draw", "mac", "N", "Kind"},
        {"Coord", "go", "println", "run"},
        {"crate::a", "self::parser"},
    ),
    "java": (
        """package p;
import java.util.List;
/** A service. */
@Singleton
public class Service extends Base implements Api {
  private Repo repo = new Repo("x");
  public Service() {}
  public List<Item> find(Query q) { return repo.search(q.text); }
  enum Mode { FAST }
  interface Inner { void go(); }
  record Pair(int a) {}
}
""",
        {
            "Service",
            "Service.repo",
            "Service.Service",
            "Service.find",
            "Service.Mode",
            "Service.Inner",
            "Service.Pair",
            "Service.Mode.FAST",
            "Service.Inner.go",
        },
        {"Singleton", "Base", "Api", "Repo", "Item", "Query", "search", "text"},
        {"java.util.List"},
    ),
    "c": (
        """#include <stdio.h>
#include "own.h"
#define SIZE 10
#define TWICE(x) (2 * (x))
/* A node. */
struct node { int value; struct node *next; };
typedef struct node node_t;
enum mode { ON, OFF };
int counter = 0;
int declared(int a);
static char *name_of(node_t *n) { return format(n->value, "text"); }
int main(void) { return declared(1); }
""",
        {"SIZE", "TWICE", "node", "node_t", "mode", "mode.ON", "mode.OFF", "counter", "declared", "name_of", "main"},
        {"format", "value", "declared", "node_t"},
        {"stdio.h", "own.h"},
    ),
    "cpp": (
        """#include "base.hpp"
namespace app {
// A widget.
template <typename T>
class Widget : public Base {
 public:
  void draw(Canvas& c);
  T& item() { return ns::find(store_.first); }
};
void Widget::draw(Canvas& c) { c.line("x"); }
using Alias = Widget<int>;
}
""",
        {"app", "app.Widget", "app.Widget.draw", "app.Widget.item", "app.Alias"},
        {"Base", "Canvas", "find", "first", "line"},
        {"base.hpp"},
    ),
    "csharp": (
        "using System.Text;\nnamespace N { class Foo : Base {\n"
        'public int Size { get; set; } void Run() { Helper.Go("x"); } } }',
        {"N", "N.Foo", "N.Foo.Size", "N.Foo.Run"},
        {"Base", "Go"},
        {"System.Text"},
    ),
    "ruby": (
        "require 'json'\nmodule M\n  class Foo < Base\n    def self.make(x)\n      helper(x).go\n    end\n  end\nend\n",
        {"M", "M.Foo", "M.Foo.make"},
        {"Base", "helper", "go"},
        {"json"},
    ),
    "php": (
        "<?php\nnamespace A;\nuse B\\C;\n"
        "class Foo extends Base { public $size; function run() { $this->go(help('x')); } }\n",
        {"A", "Foo", "Foo.size", "Foo.run"},
        {"Base", "go", "help"},
        {"B.C"},
    ),
    "bash": (
        'source ./lib.sh\nNAME=x\nrun_it() {\n  helper "text"\n}\nrun_it\n',
        {"NAME", "run_it"},
        {"helper", "run_it"},
        {"./lib.sh"},
    ),
    "scala": (
        'import a.b.C\nobject Main extends App { def run(x: Thing): Int = helper(x).go("s") }\ntrait T\n',
        {"Main", "Main.run", "T"},
        {"Thing", "helper", "go"},
        {"a.b.C"},
    ),
    "kotlin": (
        'import a.b.C\nclass Foo : Base() {\n  val size: Thing = 1\n  fun run() { helper("x").go() }\n}\nobject O\n',
        {"Foo", "Foo.size", "Foo.run", "O"},
        {"Base", "Thing", "helper", "go"},
        {"a.b.C"},
    ),
    "lua": (
        "local m = require('a.b')\nfunction m.run(x) return helper(x.y) end\nm.later = function() end\n",
        {"run", "later"},
        {"helper", "y", "run"},
        {"a.b"},
    ),
    "swift": (
        'import Foundation\nclass Foo: Base {\n  var size: Thing = 1\n  func run() { helper("x").go() }\n}\n'
        "protocol P { func q() }\n",
        {"Foo", "Foo.size", "Foo.run", "P", "P.q"},
        {"Base", "Thing", "helper", "go"},
        {"Foundation"},
    ),
}


@pytest.mark.parametrize("language", sorted(CASES))
def test_a_language_gives_its_tags(language: str) -> None:
    """Exactly these definitions, at least these references and imports."""
    source, definitions, references, modules = CASES[language]

    tags = tags_of(source, language)

    assert tags.is_parsed
    assert {one.qualified for one in tags.definitions} == definitions
    assert references <= set(tags.references)
    assert {one.module for one in tags.imports} == modules


@pytest.mark.parametrize(
    ("language", "name", "doc"),
    [
        ("javascript", "add", "Adds numbers."),
        ("typescript", "Shape", "Shape of it."),
        ("go", "Run", "Run runs."),
        ("rust", "Point", "A point."),
        ("java", "Service", "A service."),
        ("c", "node", "A node."),
        ("cpp", "Widget", "A widget."),
    ],
)
def test_the_comment_above_documents(language: str, name: str, doc: str) -> None:
    """Its first line, without comment marks, over attributes and templates."""
    tags = tags_of(CASES[language][0], language)

    assert next(one.doc for one in tags.definitions if one.name == name) == doc


def test_a_comment_behind_code_documents_nothing() -> None:
    """It belongs to its own line."""
    tags = tags_of("int a; // about a\nint f(void) { return 1; }\n", "c")

    assert [(one.name, one.doc) for one in tags.definitions] == [("f", "")]


def test_broken_code_still_has_tags() -> None:
    """A parser goes on after an error."""
    tags = tags_of("def good():\n    return call()\n\ndef broken(:\n\ndef last():\n    pass\n", "python")

    assert {"good", "last"} <= {one.name for one in tags.definitions}
    assert "call" in tags.references


def test_text_has_words_only() -> None:
    """What no grammar reads counts as body."""
    tags = tags_of("Plain words here", "text", "notes.txt")

    assert not tags.is_parsed
    assert words(tags, "body") == {"plain": 1, "words": 1, "here": 1}
    assert tags.definitions == ()


def test_bytes_that_are_no_utf8_are_read_around() -> None:
    """Offsets stay those of the bytes."""
    source = b'x = "\xff\xfe"\ndef f():\n    pass\n'

    definition = tag_file("a.py", source, "python", WordSplitter()).definitions[-1]

    assert source[definition.start_byte : definition.end_byte].startswith(b"def f")


def test_lines_of_a_name_have_a_limit_and_its_count_has_none() -> None:
    """A name that is used a thousand times does not fill the database."""
    tags = tags_of("f()\n" * 1000, "python")

    assert len(tags.references["f"]) == MAX_LINES_OF_A_NAME
    assert tags.reference_counts["f"] == 1000


def test_same_bytes_same_tags() -> None:
    """Nothing depends on the order of a set."""
    first, second = tags_of(PYTHON, "python"), tags_of(PYTHON, "python")

    assert first == second
    assert list(first.references) == list(second.references)
