"""What a key looks like."""

import pytest

from qcn_agent.completion.secret_text import has_secret, is_in_secret


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key = 'AKIA" + "ABCDEFGHIJKLMNOP'", True),
        ("ghp_" + "a1B2" * 9, True),
        ("-----BEGIN RSA " + "PRIVATE KEY-----", True),
        ("eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0.abc", True),
        ("api_key = 'q8Zr3Lx0Vb7Nf2Kd9Ts4'", True),
        ("api_key = 'your-api-key-goes-here1'", False),
        ("api_key = 'aaaaaaaaaaaaaaaaaaaa'", False),
        ("api_key = os.environ['API_KEY']", False),
        ("token = tokenizer.encode(text)", False),
        ("def password_strength(password): ...", False),
    ],
)
def test_keys_are_told_from_code_about_keys(text: str, expected: bool) -> None:
    """By their form, or by a random value for a telling name; placeholders are none."""
    assert has_secret(text) is expected


def test_only_an_open_string_is_where_a_key_would_stand() -> None:
    """Not before it, not behind it."""
    assert is_in_secret("api_key='")
    assert not is_in_secret("api_key=")
    assert not is_in_secret("api_key='x'")
