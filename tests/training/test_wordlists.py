"""The word lists are usable as they are."""

import keyword

from qcn_agent.training import wordlists


def test_synonyms_are_identifiers() -> None:
    """Every other name can stand in code."""
    words = [word for others in wordlists.SYNONYMS.values() for word in others]
    assert all(word.isidentifier() and not keyword.iskeyword(word) for word in words)


def test_affixes_have_one_place_for_the_name() -> None:
    """Formatting an affix gives another identifier that holds the name."""
    made = [affix.format("name") for affix in wordlists.AFFIXES]
    assert all(name.isidentifier() and "name" in name and name != "name" for name in made)


def test_module_names_can_be_imported() -> None:
    """Module and sibling names are identifiers, and none is in both lists."""
    assert all(name.isidentifier() for name in wordlists.MODULES + wordlists.SIBLINGS)
    assert not set(wordlists.MODULES) & set(wordlists.SIBLINGS)
