"""Corpora: the same documents in the same order each time, and each fault by its place."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadInput, Missing
from tasks.corpora import Corpus, Document, open_corpus
from tasks.corpora.facts import SENTENCES, fact_texts
from tasks.corpora.python_documentation import is_prose


def texts(path: Path) -> list[str]:
    return [document.text for document in open_corpus(str(path)).documents()]


def test_given_a_text_file_when_read_then_paragraphs_are_documents(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufefffirst line\nsecond\n\n \n\nthird — é\r\n\r\nlast".encode())
    assert texts(file) == ["first line\nsecond", "third — é", "last"]
    assert [d.index for d in open_corpus(str(file)).documents()] == [0, 1, 2]


def test_given_json_lines_when_read_then_text_keys_and_plain_strings_are_documents(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one", "id": 1}\n\n"two"\n{"content": "three"}\n{"text": " "}\n')
    assert texts(file) == ["one", "two", "three"]


def test_given_parquet_when_read_then_rows_are_documents(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"id": [1, 2, 3], "text": ["one", None, "three"]}), file)
    assert texts(file) == ["one", "three"]
    parquet.write_table(pyarrow.table({"id": [1]}), file)
    with pytest.raises(BadInput, match=r"a\.parquet has no text column"):
        texts(file)
    file.write_bytes(b"PAR1 nothing")
    with pytest.raises(BadInput, match=r"a\.parquet cannot be read as parquet"):
        texts(file)


def test_given_a_directory_when_read_then_files_follow_in_the_order_of_their_paths(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "a.jsonl").write_text('"a"')
    (tmp_path / "sub" / "c.md").write_text("c")
    (tmp_path / "picture.png").write_bytes(b"\xff\xfe")
    assert texts(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.txt", b"", "a.txt is empty"),
        ("a.txt", b" \n \n", "holds no text"),
        ("a.txt", "fine\n\nna\u00efve ".encode() + b"\xe9\xe8 end", r"a\.txt is not UTF-8 at byte 13"),
        ("a.txt", "line\n".encode("utf-16"), r"a\.txt is not UTF-8 at byte 0"),
        ("a.jsonl", b'{"text": "x"}\n{"text"', r"line 2 of .*a\.jsonl is not JSON"),
        ("a.jsonl", b'{"title": "x"}', r"line 1 of .*a\.jsonl holds no text"),
        ("a.jsonl", b'{"text": 3}', r"line 1 of .*a\.jsonl holds no text"),
    ],
)
def test_given_a_faulty_file_when_read_then_one_line_names_it(
    tmp_path: Path, name: str, content: bytes, fault: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=fault) as caught:
        texts(tmp_path / name)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_given_no_corpus_when_opened_then_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no corpus at"):
        open_corpus(str(tmp_path / "nothing.txt"))
    with pytest.raises(BadInput, match="holds no text files"):
        open_corpus(str(tmp_path))
    with pytest.raises(BadInput, match=r"offline:facts, offline:python"):
        open_corpus("offline:poems")


@pytest.mark.parametrize("spec", ["hub:", "hub:a:b:c:d"])
def test_given_a_malformed_hub_spec_when_opened_then_the_form_is_shown(spec: str) -> None:
    with pytest.raises(BadInput, match="hub:NAME:SPLIT:COLUMN"):
        open_corpus(spec)


def test_given_no_datasets_library_when_a_hub_corpus_is_read_then_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(Missing, match="pip install datasets"):
        next(open_corpus("hub:someone/something").documents())


def test_given_no_pyarrow_when_parquet_is_read_then_the_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(Missing, match="pip install pyarrow"):
        texts(tmp_path / "a.parquet")


def test_given_indices_when_read_again_then_one_pass_gives_those_texts() -> None:
    corpus = Corpus("numbers", lambda: (str(i) for i in range(100)))
    assert corpus.read({3, 97}) == {3: "3", 97: "97"}
    assert corpus.read(set()) == {}
    with pytest.raises(BadInput, match="no document 100"):
        corpus.read({5, 100})


@pytest.mark.parametrize("spec", ["offline", "offline:facts", "offline:python"])
def test_given_the_offline_corpus_when_read_in_another_process_then_it_is_the_same(spec: str) -> None:
    here = list(islice(open_corpus(spec).documents(), 40))
    program = (
        "import json, sys; from itertools import islice; from tasks.corpora import open_corpus\n"
        "print(json.dumps([d.text for d in islice(open_corpus(sys.argv[1]).documents(), 40)]))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program, spec], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [document.text for document in here]
    assert here == [Document(i, document.text) for i, document in enumerate(here)]


def test_given_the_documentation_when_read_whole_then_it_is_large_and_each_paragraph_is_prose_and_new() -> None:
    documentation = [document.text for document in open_corpus("offline:python").documents()]
    assert len(documentation) == len(set(documentation)) > 3000
    assert all(is_prose(text) for text in documentation)
    assert sum(map(len, documentation)) > 500_000


@given(st.integers(0, 2**32))
def test_given_a_seed_when_facts_are_drawn_then_they_are_whole_sentences_of_every_kind(seed: int) -> None:
    drawn = list(fact_texts(seed, 5))
    assert drawn == list(fact_texts(seed, 5))
    assert all("{" not in text and "  " not in text and text[0] != " " for text in drawn)
    assert len(SENTENCES) >= 10
