"""The text that a dictionary set was indexed on, to be read again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from store.errors import Missing

if TYPE_CHECKING:
    from store.project import Project
    from tasks.dictionaries.corpus_text import CorpusText
    from tasks.model.language_model import LanguageModel


def indexed_text(project: Project, dictionary: str, model: LanguageModel) -> CorpusText:
    """The text of the set's newest index, checked by its hash.

    Raises `Missing` if no index of it was made in this project, `BadInput` with both hashes if the text has changed.
    """
    from tasks.indexing.sources import refuse_changed
    from tasks.interpret import corpus_text

    sql = """SELECT id, params, result FROM job WHERE kind = 'index' AND state = 'succeeded'
        AND json_extract(params, '$.dictionary') = ? AND coalesce(json_extract(params, '$.part'), '') = ''
        ORDER BY id DESC LIMIT 1"""
    row = project.db.execute(sql, [dictionary]).fetchone()
    if row is None:
        raise Missing(f"the set {dictionary!r} was not indexed here", "`workbench index` describes its features")
    job, params, result = row
    text = corpus_text(project, json.loads(params), model)
    if expected := json.loads(result or "{}").get("corpus_hash"):
        refuse_changed(text.spec, text.content_hash(), expected, f"it was indexed (job {job})")
    return text
