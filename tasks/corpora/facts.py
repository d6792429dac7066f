"""Sentences generated from small tables (`facts.toml`), alone and in short paragraphs: plain, seeded, endless in kind.

They put the kinds of things that the behaviours ask about (countries, opposites, names, numbers, sequences) into text
that a small dictionary can learn from. The behaviours' own prompts are among the sentences' beginnings, with their
answers: that is what "in distribution" means here, and docs/corpus.md measures held-out text of other kinds as well.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

Tables = dict[str, Any]
Sentence = Callable[[Tables, Random], str]
_LONGEST_PARAGRAPH = 5


def fact_texts(seed: int, n_documents: int) -> Iterator[str]:
    """`n_documents` texts of one to five sentences."""
    tables = tomllib.loads(Path(__file__).with_name("facts.toml").read_text("utf-8"))
    draw = Random(seed)
    for _ in range(n_documents):
        n_sentences = draw.choice((1, 1, 2, 3, _LONGEST_PARAGRAPH))
        yield " ".join(draw.choice(SENTENCES)(tables, draw) for _ in range(n_sentences))


def _country(tables: Tables, draw: Random) -> str:
    name, capital, language, continent, demonym, currency = draw.choice(tables["countries"])
    home, home_capital = next((row[0], row[1]) for row in tables["countries"] if row[2] == language)
    return draw.choice(
        (
            f"The capital of {name} is {capital}.",
            f"{capital} is the capital of {name}.",
            f"The official language of the country whose capital is {capital} is {language}.",
            f"The official language of {name} is {language}.",
            f"The capital of the country where people speak {language} is {home_capital}.",
            f"The {language} language comes from {home}.",
            f"People in {name} speak {language}.",
            f"In {capital}, most people speak {language}.",
            f"The city of {capital} is located on the continent of {continent}.",
            f"{name} is a country in {continent}, and its capital is {capital}.",
            f"The currency of {name} is the {currency}.",
            f"{demonym} people pay with the {currency}.",
            f"She was born in {capital}, and her mother is {demonym}.",
            f"The {demonym} government met in {capital} on Monday.",
            f"We flew from {capital} to {draw.choice(tables['countries'])[1]} last year.",
        )
    )


def _opposite(tables: Tables, draw: Random) -> str:
    pair = list(draw.choice(tables["antonyms"]))
    draw.shuffle(pair)
    first, second = pair
    return draw.choice(
        (
            f"The opposite of {first} is {second}.",
            f'The opposite of the word "{first}" is "{second}".',
            f"It was not {first} but {second}.",
            f"Some are {first}, and others are {second}.",
            f"{first.capitalize()} and {second} are opposites.",
        )
    )


def _kind(tables: Tables, draw: Random) -> str:
    kind, *members = draw.choice(tables["kinds"])
    member, other = draw.sample(members, 2)
    return draw.choice(
        (
            f"{_article(member).capitalize()} {member} is a kind of {kind}.",
            f"The {member} is a type of {kind}.",
            f"{_article(member).capitalize()} {member} and {_article(other)} {other} are two kinds of {kind}.",
            f"Which {kind} do you like more, the {member} or the {other}?",
        )
    )


def _giving(tables: Tables, draw: Random) -> str:
    first, second = draw.sample(tables["names"], 2)
    giver, receiver = draw.choice(((first, second), (second, first)))
    gift, place = draw.choice(tables["gifts"]), draw.choice(tables["places"])
    return draw.choice(
        (
            f"When {first} and {second} went to the {place}, {giver} gave {_article(gift)} {gift} to {receiver}.",
            f"After {first} and {second} left the {place}, {giver} sent {_article(gift)} {gift} to {receiver}.",
            f"While {first} and {second} sat in the {place}, {giver} showed {_article(gift)} {gift} to {receiver}.",
            f"{first} met {second} at the {place} and asked about the {gift}.",
            f'"Where is the {gift}?" asked {first}. "I left it at the {place}," said {second}.',
        )
    )


def _subject(tables: Tables, draw: Random) -> str:
    noun, other = draw.sample(tables["nouns"], 2)
    number = draw.randrange(2)
    verb = (("is", "are"), ("was", "were"), ("has been", "have been"))[draw.randrange(3)][number]
    adjective = draw.choice(tables["antonyms"])[draw.randrange(2)]
    return draw.choice(
        (
            f"The {noun[number]} {verb} {adjective}.",
            f"The {noun[number]} near the {other[draw.randrange(2)]} {verb} {adjective}.",
            f"The {noun[number]} that the {other[0]} saw {verb} {adjective}.",
            f"The {noun[number]} in the {draw.choice(tables['places'])} {verb} {adjective}.",
        )
    )


def _sequence(tables: Tables, draw: Random) -> str:
    words = draw.choice(tables["sequences"])
    length = min(len(words), draw.randrange(4, 7))
    start = draw.randrange(len(words) - length + 1)
    return ", ".join(words[start : start + length]) + "."


def _numbers(_tables: Tables, draw: Random) -> str:
    start, step = draw.randrange(1, 30), draw.choice((1, 1, 2, 2, 3, 5, 10, -1))
    first, second = draw.randrange(1, 10), draw.randrange(1, 10)
    return draw.choice(
        (
            ", ".join(str(start + step * i) for i in range(draw.randrange(4, 7)) if start + step * i >= 0) + ".",
            f"Question: What is {first} plus {second}?\nAnswer: {first} + {second} = {first + second}.",
            f"{first} plus {second} is {first + second}.",
        )
    )


def _translation(tables: Tables, draw: Random) -> str:
    english, french, spanish, german = draw.choice(tables["words"])
    language, word = draw.choice((("French", french), ("French", french), ("Spanish", spanish), ("German", german)))
    return draw.choice(
        (
            f'The {language} word "{word}" means "{english}".',
            f'The {language} word for "{english}" is "{word}".',
            f"English: {english}\n{language}: {word}",
        )
    )


def _acronym(_tables: Tables, draw: Random) -> str:
    words = [draw.choice(choices) for choices in _NAME_PARTS]
    return f"The {' '.join(words)} ({''.join(word[0] for word in words)}) was founded in {draw.randrange(1850, 2015)}."


def _article(noun: str) -> str:
    return "an" if noun[0].lower() in "aeiou" else "a"


_NAME_PARTS = (
    ("National", "Global", "Royal", "Central", "Modern", "World", "European", "American"),
    ("Digital", "Space", "Data", "Sports", "Art", "Health", "Trade", "Water", "Energy"),
    ("Analytics", "Audit", "Archive", "Control", "Research", "Safety", "Studies"),
    ("Group", "Council", "Office", "Society", "Institute", "Agency"),
)
SENTENCES: tuple[Sentence, ...] = (
    _country, _country, _country, _opposite, _kind, _giving, _subject, _sequence, _numbers, _translation, _acronym,
)  # fmt: skip
"""The kinds of sentences; countries three times as often."""
