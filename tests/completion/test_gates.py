"""Where nothing is offered."""

import pytest

from qcn_agent.completion.gates import MAX_CHARS, Gates, is_secret_file
from qcn_agent.completion.values import Snapshot, Trigger
from qcn_agent.config import CompletionConfig
from tests.fakes.cursor import at

AUTO = Trigger.AUTOMATIC


def refusal(snapshot: Snapshot, trigger: Trigger = AUTO, **settings: object) -> str:
    """The gate that says no."""
    return Gates(CompletionConfig(**settings)).refusal(snapshot, trigger)  # type: ignore[arg-type]  # settings by name


def test_ordinary_code_passes() -> None:
    """Nothing to say."""
    assert refusal(at("x = ¦\n")) == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".env", True),
        (".env.production", True),
        (".env.example", False),
        ("server.pem", True),
        ("SERVER.PEM", True),
        ("id_rsa", True),
        ("id_ed25519.pub", True),
        (".npmrc", True),
        ("secrets.yaml", True),
        ("secrets.py", False),
        ("credentials", True),
        ("environment.py", False),
        ("keys.py", False),
    ],
)
def test_files_that_hold_secrets_are_known_by_name(name: str, expected: bool) -> None:
    """Code that handles secrets is code."""
    assert is_secret_file(name) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('API_KEY = "¦"\n', "secret_string"),
        ("password: '¦'\n", "secret_string"),
        ('config["auth_token"] = "abc¦"\n', "secret_string"),
        ('{"client_secret": "¦"}\n', "secret_string"),
        ('secret: str = "¦"\n', "secret_string"),
        ("password = ¦\n", ""),
        ('title = "¦"\n', ""),
        ('API_KEY = "abc"; x = ¦\n', ""),
        ("token = tokens[¦]\n", ""),
    ],
)
def test_strings_that_hold_keys_are_left_alone(line: str, expected: str) -> None:
    """By the name they are given."""
    assert refusal(at(line)) == expected


def test_secret_files_are_refused_even_when_asked() -> None:
    """No wish goes before this."""
    assert refusal(at("KEY=¦\n", "config/.env", "dotenv"), Trigger.INVOKED) == "secret_file"


def test_what_the_user_excludes_is_excluded() -> None:
    """In the syntax of .gitignore, with folders and exceptions."""
    exclude = ("generated/", "*.lock", "!keep.lock")

    assert refusal(at("x¦", "generated/a.py"), exclude=exclude) == "excluded"
    assert refusal(at("x¦", "a/b.lock"), exclude=exclude) == "excluded"
    assert refusal(at("x¦", "keep.lock"), exclude=exclude) == ""


def test_ignored_files_are_ignored() -> None:
    """The workspace says which."""
    gates = Gates(CompletionConfig(), lambda path: path.startswith("build/"))

    assert gates.refusal(at("x¦", "build/a.py"), AUTO) == "ignored"
    assert gates.refusal(at("x¦", "src/a.py"), AUTO) == ""


def test_huge_files_and_long_lines_are_refused() -> None:
    """Over 2 MB; a line over 2,000 characters near the cursor."""
    assert refusal(at("x\n" * (MAX_CHARS // 2) + "¦\n")) == "huge_file"
    assert refusal(at("x = '" + "a" * 2000 + "¦'\n")) == "long_line"
    assert refusal(at("x" * 2001 + "\n" + "short\n" * 4000 + "¦\n")) == ""


def test_languages_can_be_chosen() -> None:
    """Who asks gets one anyway."""
    assert refusal(at("x¦"), languages=("go", "rust")) == "language"
    assert refusal(at("x¦"), languages=("go", "python")) == ""
    assert refusal(at("x¦"), Trigger.INVOKED, languages=("go",)) == ""


def test_all_can_be_switched_off() -> None:
    """Also what is asked for."""
    assert refusal(at("x¦"), Trigger.INVOKED, enabled=False) == "off"


def test_in_calm_nothing_comes_by_itself_while_the_agent_works() -> None:
    """Who asks is answered; without the setting nothing changes."""
    busy = [True]
    calm = Gates(CompletionConfig(calm=True), is_busy=lambda: busy[0])
    assert calm.refusal(at("x = ¦\n"), Trigger.AUTOMATIC) == "calm"
    assert calm.refusal(at("x = ¦\n"), Trigger.INVOKED) == ""
    assert Gates(CompletionConfig(), is_busy=lambda: True).refusal(at("x = ¦\n"), Trigger.AUTOMATIC) == ""
    busy[0] = False
    assert calm.refusal(at("x = ¦\n"), Trigger.AUTOMATIC) == ""
