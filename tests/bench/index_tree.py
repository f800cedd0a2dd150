"""A tree with as many files as a kernel's, made from a seed: four languages, words as frequent as in code."""

import random
from collections.abc import Sequence
from pathlib import Path

FILES_A_FOLDER = 40
FUNCTIONS = 8  # a file
STATEMENTS = 6  # a function


class Vocabulary:
    """Words and names made of two of them, used as often as words are (Zipf)."""

    def __init__(self, chance: random.Random, words: Sequence[str], names: Sequence[str]) -> None:
        self._chance, self._words, self._names = chance, words, names

    @classmethod
    def of_a_project(cls, chance: random.Random, num_words: int = 20_000) -> "Vocabulary":
        """All that a large project speaks of."""
        letters = "abcdefghijklmnoprstuvw"
        words = sorted({"".join(chance.choices(letters, k=chance.randint(3, 8))) for _ in range(num_words)})
        chance.shuffle(words)
        some = cls(chance, words, words)
        names = sorted({f"{some.word()}_{some.word()}" for _ in range(8 * num_words)})
        chance.shuffle(names)
        return cls(chance, words, names)

    def of_a_file(self) -> "Vocabulary":
        """What one file speaks of: a part, used again and again."""
        words, names = [self.word() for _ in range(40)], [self.name() for _ in range(40)]
        return Vocabulary(self._chance, words, names)

    def word(self) -> str:
        """One word."""
        return self._drawn(self._words)

    def name(self) -> str:
        """Two words, as a function's name."""
        return self._drawn(self._names)

    def sentence(self, num_words: int = 12) -> str:
        """Some words and a name."""
        return " ".join([*(self.word() for _ in range(num_words)), self.name()])

    def _drawn(self, choices: Sequence[str]) -> str:
        """One of them, the first ones most often."""
        return choices[int(len(choices) ** self._chance.random()) - 1]


def write_synthetic_tree(root: Path, num_files: int, words: Vocabulary) -> None:
    """Write the files, FILES_A_FOLDER to a folder, about 5 kB each."""
    makers = (("py", python), ("c", c), ("js", javascript), ("go", go))
    for number in range(num_files):
        extension, make = makers[number % len(makers)]
        folder = root / f"d{number // (FILES_A_FOLDER * 50)}" / f"e{number // FILES_A_FOLDER}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{words.word()}_{number}.{extension}").write_text(make(words.of_a_file()), encoding="utf-8")


def python(words: Vocabulary) -> str:
    """A module with a class."""
    methods = "".join(
        f"    def {words.name()}(self, {words.word()}_a, {words.word()}_b):\n"
        f'        """{words.sentence(8)}."""\n'
        + "".join(
            f"        {words.word()}_v = self.{words.name()}({words.name()}({words.word()}_a), '{words.sentence(4)}')\n"
            for _ in range(STATEMENTS)
        )
        + f"        return {words.word()}_v.{words.name()}\n\n"
        for _ in range(FUNCTIONS)
    )
    imports = f"import {words.word()}\nfrom {words.word()} import {words.name()}\n"
    return f"{imports}\n\nclass {words.word().title()}:\n{methods}"


def c(words: Vocabulary) -> str:
    """A file of functions."""
    functions = "".join(
        f"/* {words.sentence(8)} */\nstatic int {words.name()}(struct {words.name()} *p, int n)\n{{\n"
        + "".join(
            f'\tif (p->{words.name()} > n)\n\t\treturn {words.name()}(p->{words.word()}, "{words.sentence(4)}");\n'
            for _ in range(STATEMENTS)
        )
        + f"\treturn {words.name()}(n);\n}}\n\n"
        for _ in range(FUNCTIONS)
    )
    return f'#include <linux/{words.word()}.h>\n#include "{words.word()}.h"\n\n{functions}'


def javascript(words: Vocabulary) -> str:
    """A module of functions."""
    functions = "".join(
        f"// {words.sentence(8)}\nexport function {words.name()}(a, b) {{\n"
        + "".join(
            f"  const {words.word()}V = {words.name()}(a.{words.name()}, '{words.sentence(4)}');\n"
            for _ in range(STATEMENTS)
        )
        + f"  return {words.word()}V.{words.name()}(b);\n}}\n\n"
        for _ in range(FUNCTIONS)
    )
    return f"import {{ {words.name()} }} from './{words.word()}';\n\n{functions}"


def go(words: Vocabulary) -> str:
    """A file of a package."""
    functions = "".join(
        f"// {words.sentence(8)}\nfunc {words.name()}(a *{words.word().title()}, n int) error {{\n"
        + "".join(
            f'\tif err := a.{words.name()}(n, "{words.sentence(4)}"); err != nil {{\n\t\treturn err\n\t}}\n'
            for _ in range(STATEMENTS)
        )
        + f"\treturn {words.name()}(a.{words.name()})\n}}\n\n"
        for _ in range(FUNCTIONS)
    )
    return f'package {words.word()}x\n\nimport "example.org/{words.word()}"\n\n{functions}'
