"""Texts to tokens, each text alone and once."""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from qcn_agent.context.token_cache import TokenCache
from qcn_agent.engine.generator import IntArray, Vocabulary

CACHE_BYTES = 64 << 20
_PROBE = """def café_größe(self, items: list[int] = [1, 22, 333, 4444]) -> None:\r\n\treturn self._x != "naïve" and y
    # 変数の数 переменная متغير δοκιμή 🙂👩‍🔬 <|im_start|><tool_call><|fim_prefix|> --==>> //** ::  {{}}\n\n\n
public static final void main(String... args) throws IOException { System.out.println("%5.2f\\n" + 1e-9); }
SELECT * FROM t WHERE id IN (10, 100, 1000) ORDER BY created_at DESC; std::unordered_map<uint64_t, std::string>
"""


class Tokenizer:
    """A model's vocabulary with the tokens of all texts that it was given before.

    The texts are plain: what spells a control token is not one. One thread at a time.
    """

    def __init__(self, vocabulary: Vocabulary, cache: TokenCache) -> None:
        self._vocabulary = vocabulary
        self._cache = cache

    @classmethod
    def open(cls, vocabulary: Vocabulary, folder: Path, name: str, budget_bytes: int = CACHE_BYTES) -> "Tokenizer":
        """With a cache in `folder` for what is called `name`, one for each vocabulary."""
        file = folder / f"{name}-{identity(vocabulary)}.db"
        return cls(vocabulary, TokenCache(file, budget_bytes))

    def encode(self, texts: Sequence[str]) -> list[IntArray]:
        """The tokens of each text (int32)."""
        hashes = [blake2b(text.encode("utf-8", "replace"), digest_size=16).digest() for text in texts]
        known = self._cache.get(hashes)
        new = {key: text for key, text in zip(hashes, texts, strict=True) if key not in known}
        made = {key: self._vocabulary.encode([(text, False)]) for key, text in new.items()}
        if made:
            self._cache.put(made)
        known.update(made)
        return [known[key] for key in hashes]

    def close(self) -> None:
        """Close the cache."""
        self._cache.close()


def identity(vocabulary: Vocabulary) -> str:
    """A name for what a vocabulary makes of text: 16 of 0-9 and a-f, from the tokens of a text with a bit of all."""
    tokens = [vocabulary.encode([(text, False)]) for text in (_PROBE, *_PROBE.split())]
    return blake2b(b"|".join(array.tobytes() for array in tokens), digest_size=8).hexdigest()
