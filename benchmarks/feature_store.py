"""A project with as many made-up features as wanted: what search and the feature list are measured on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from store.project import ModelRecord, Project
from store.search import Example, pack_examples
from workbench import VERSION

MODEL = ModelRecord("builtin:none", "0" * 64, "llama", 36, 64, 256, 32000, "cpu", "float32")
SET = "made"
N_LAYERS = 36
_WORDS = 20_000
_EXAMPLES, _WORDS_AN_EXAMPLE, _PROMOTED = 5, 6, 10
_AT_ONCE = 20_000
_SHARE_LABELLED = 0.01


def vocabulary() -> list[str]:
    """Words of two to four syllables, the first the most frequent."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    draw = np.random.default_rng(0)
    made = dict.fromkeys(
        "".join(syllables[i] for i in draw.integers(0, len(syllables), draw.integers(2, 5))) for _ in range(3 * _WORDS)
    )
    return list(made)[:_WORDS]


def create(directory: Path, n_features: int) -> None:
    """Make the project; words follow Zipf's law, densities a log-normal, one feature in a hundred has a label."""
    with Project.create(directory, MODEL, VERSION) as project:
        project.db.execute("PRAGMA synchronous = OFF")
        with project.transaction():
            project.db.execute("INSERT INTO file VALUES (1, 'weights/made.safetensors', 1, '00')")
            for layer in range(N_LAYERS):
                project.db.execute(
                    "INSERT INTO dictionary (id, name, kind, layer, n_features, objective, file_id, config, metrics)"
                    " VALUES (?, ?, 'sae', ?, ?, 'topk', 1, '{}', '{}')",
                    [layer + 1, SET, layer, n_features // N_LAYERS],
                )
        for first in range(0, n_features, _AT_ONCE):
            with project.transaction():
                _insert(project, first, min(first + _AT_ONCE, n_features), n_features)
        project.db.execute("ANALYZE")


def _insert(project: Project, first: int, last: int, n_features: int) -> None:
    rows = list(_features(first, last, -(-n_features // N_LAYERS)))
    insert = project.db.conn.executemany
    insert(
        "INSERT INTO feature (id, dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed,"
        " fires_on, label) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [row[:11] for row in rows],
    )
    insert("INSERT INTO example (feature_id, packed) VALUES (?, ?)", [(row[0], row[11]) for row in rows])
    insert(
        "INSERT INTO feature_fts (rowid, label, examples, promoted) VALUES (?, ?, ?, ?)",
        [(row[0], row[10], row[12], row[13]) for row in rows],
    )


def _features(first: int, last: int, a_layer: int) -> Iterator[tuple[object, ...]]:
    words = vocabulary()
    draw = np.random.default_rng(first)
    n = last - first
    ranks = np.minimum(draw.zipf(1.2, (n, _EXAMPLES * _WORDS_AN_EXAMPLE + _PROMOTED)), _WORDS) - 1
    density = np.minimum(np.exp(draw.normal(-6.0, 1.5, n)), 1.0)
    maximum = np.exp(draw.normal(2.0, 0.7, n))
    packed = pack_examples([Example(i, 3, 1.0) for i in range(20)])
    histogram = json.dumps([0] * 8 + [17, 61, 75, 53, 23, 4] + [0] * 6)
    for row in range(n):
        said = [words[rank] for rank in ranks[row]]
        text, promoted = said[:-_PROMOTED], said[-_PROMOTED:]
        logits = json.dumps([[f" {word}", 0.5 - 0.01 * place] for place, word in enumerate(promoted)])
        label = " ".join(said[:2]) if draw.random() < _SHARE_LABELLED else ""
        number = first + row
        fires_on = json.dumps([f" {word}" for word in dict.fromkeys(text[::_WORDS_AN_EXAMPLE])])
        yield (
            number + 1, number // a_layer + 1, number % a_layer, float(density[row]), float(maximum[row]), 1.0,
            histogram, logits, logits, fires_on, label, packed, " ".join(text), " ".join(promoted),
        )  # fmt: skip
