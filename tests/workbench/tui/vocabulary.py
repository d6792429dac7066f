"""Texts that a vocabulary can hold and a terminal must never see raw."""

import unicodedata


def hostile_texts() -> list[str]:
    """Every code point of the Basic Multilingual Plane that is no plain letter, in company, and known attacks."""
    attacks = [
        "[/INST]", "[@click=app.quit]x[/]", "\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\x1bP+q\x1b\\", "a\x00b", "\r\n",
        "\u202e\u2066abc", "\x1b]52;c;ZXZpbA==\x07", "[bold red]", "\\[", "{", "</s>", "<|im_end|>", "", " ", "\t",
    ]  # fmt: skip
    odd = [chr(code) for code in range(0x10000) if unicodedata.category(chr(code))[0] in "CZM" and not _surrogate(code)]
    private = [character for character in odd if unicodedata.category(character) == "Co"]
    return attacks + [f" {character}x" for character in odd if character not in set(private[16:])]


def _surrogate(code: int) -> bool:
    return 0xD800 <= code < 0xE000
