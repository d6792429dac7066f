"""What was described as rows, in place of an earlier index; labels and stars stay, since they go by feature number."""

from collections.abc import Iterator, Mapping, Sequence

from store.project import Project
from store.search import encodable
from tasks.indexing.describe import DescribedFeature, DescribedLayer

_FEATURE = """INSERT INTO feature (id, dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed,
    fires_on, label) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_WORDS = "INSERT OR REPLACE INTO feature_fts (rowid, label, examples, promoted) VALUES (?, ?, ?, ?)"
_DETAIL = "INSERT INTO feature_detail VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def save_features(
    project: Project, dictionary: str, layers: Mapping[int, DescribedLayer], token_texts: Mapping[int, str]
) -> None:
    """All rows of these layers, inside the caller's transaction."""
    texts = ((token, encodable(text)) for token, text in token_texts.items())
    project.db.conn.executemany("INSERT OR REPLACE INTO token_text (token, text) VALUES (?, ?)", texts)
    for layer, held in layers.items():
        dictionary_id = _dictionary_row(project, dictionary, layer, held)
        labels = _forget(project, dictionary_id)
        _insert(project, dictionary_id, held.features, labels)


def _dictionary_row(project: Project, name: str, layer: int, held: DescribedLayer) -> int:
    """The row of that layer of the set; of neurons, and of transcoders, made now if it is not there."""
    project.db.execute(
        "INSERT INTO dictionary (name, kind, layer, n_features, objective, config, metrics)"
        " VALUES (?, ?, ?, ?, '', '{}', '{}') ON CONFLICT (name, layer) DO NOTHING",
        [name, held.kind, layer, len(held.features)],
    )
    sql = "SELECT id FROM dictionary WHERE name = ? AND layer = ?"
    [(dictionary_id,)] = project.db.execute(sql, [name, layer]).fetchall()
    return int(dictionary_id)


def _forget(project: Project, dictionary_id: int) -> dict[int, str]:
    """Remove what an earlier index said of this layer; returns the labels that features had."""
    sql = "SELECT feature, label FROM feature WHERE dictionary_id = ? AND label != ''"
    labels = {int(feature): str(label) for feature, label in project.db.execute(sql, [dictionary_id]).fetchall()}
    project.db.execute("DELETE FROM feature WHERE dictionary_id = ?", [dictionary_id])
    return labels


def _insert(
    project: Project, dictionary_id: int, features: Sequence[DescribedFeature], labels: Mapping[int, str]
) -> None:
    connection = project.db.conn
    first = int(project.db.execute("SELECT coalesce(max(id), 0) + 1 FROM feature").fetchone()[0])
    numbered = list(enumerate(features, start=first))

    def rows() -> Iterator[tuple[object, ...]]:
        for number, (row_id, each) in enumerate(numbered):
            yield (
                row_id, dictionary_id, number, each.density, each.maximum, each.mean, each.histogram, each.promoted,
                each.suppressed, each.fires_on, labels.get(number, ""),
            )  # fmt: skip

    connection.executemany(_FEATURE, rows())
    connection.executemany("INSERT INTO example VALUES (?, ?)", ((i, each.examples) for i, each in numbered))
    words = ((i, each.search_words, each.contexts) for i, each in numbered)
    connection.executemany("INSERT INTO context (feature_id, words, packed) VALUES (?, ?, ?)", words)
    details = (
        (i, *each.moments, each.sampled, each.lowest, each.by_decoder, each.by_coactivation) for i, each in numbered
    )
    connection.executemany(_DETAIL, details)
    texts = ((i, labels.get(i - first, ""), each.search_words, each.promoted_words) for i, each in numbered)
    connection.executemany(_WORDS, texts)
