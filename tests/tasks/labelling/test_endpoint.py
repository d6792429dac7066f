"""The endpoint as a judge: asked, refused, slow, nonsensical; and its key nowhere but in the header."""

import pytest

from store.errors import BadInput, WorkbenchError
from tasks.label import Params
from tasks.labelling.endpoint import KEY_VARIABLE, EndpointJudge, check_url
from tasks.labelling.passages import Evidence, Passage, Question
from tasks.labelling.scoring import JudgeFailed
from tests.tasks.labelling.fake_judge import LABEL, FakeJudge, fake_judge

SECRET = "sk-very-secret"
PASSAGE = Passage(0, ("w7", " w8"), (2.0, 0.0))
EVIDENCE = Evidence([PASSAGE], [Passage(1, ("w5",), (0.0,))], [PASSAGE], [])
QUESTIONS = [Question(PASSAGE, frozenset({at}), at == 0) for at in (0, 1) for _ in range(6)]


def judge_of(fake: FakeJudge, timeout_s: float = 20.0) -> EndpointJudge:
    return EndpointJudge(fake.url, "m", timeout_s, wait=lambda seconds: None)


def test_given_an_endpoint_when_asked_then_label_and_answers_come_ten_questions_at_once() -> None:
    with fake_judge() as fake:
        judge = judge_of(fake)
        assert judge.label(EVIDENCE) == LABEL
        assert judge.answers(LABEL, QUESTIONS, "fuzzing") == [True] * 6 + [False] * 6
        assert judge.name == f"m at 127.0.0.1:{fake.server_port}"
    label, first, second = fake.asked
    assert (label["model"], label["temperature"]) == ("m", 0)
    assert "<<w7>> w8" in label["messages"][-1]["content"]
    assert "10 numbers" in first["messages"][-1]["content"]
    assert "2 numbers" in second["messages"][-1]["content"]
    assert fake.keys == [None] * 3


def test_given_a_key_when_asked_then_it_is_in_the_header_and_in_nothing_that_is_kept_or_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET + "\n")
    with fake_judge() as fake:
        judge = judge_of(fake)
        judge.label(EVIDENCE)
        fake.statuses = [401]
        with pytest.raises(WorkbenchError, match="refuses to be asked") as caught:
            judge.label(EVIDENCE)
    assert fake.keys == [f"Bearer {SECRET}"] * 2
    assert SECRET not in f"{caught.value} {judge!r} {judge.name} {fake.asked}"
    assert not isinstance(caught.value, JudgeFailed)


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "\x1b[31m"])
def test_given_a_key_that_no_header_can_hold_then_it_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with fake_judge() as fake, pytest.raises(BadInput) as caught:
        judge_of(fake).label(EVIDENCE)
    assert key not in str(caught.value)
    assert fake.asked == []


def test_given_a_redirect_when_asked_then_the_key_goes_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    with fake_judge() as elsewhere, fake_judge() as fake:
        fake.statuses, fake.headers = [307, 302], {"Location": f"{elsewhere.url}/chat/completions"}
        for _ in range(2):
            with pytest.raises(JudgeFailed, match="HTTP 30"):
                judge_of(fake).label(EVIDENCE)
    assert elsewhere.asked == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_given_a_fault_that_passes_when_asked_then_it_is_tried_again(status: int) -> None:
    with fake_judge() as fake:
        fake.statuses = [status, status]
        assert judge_of(fake).label(EVIDENCE) == LABEL
        fake.statuses = [status] * 3
        with pytest.raises(JudgeFailed, match=f"HTTP {status}") as caught:
            judge_of(fake).label(EVIDENCE)
    assert caught.value.is_down == (status >= 500)
    assert len(fake.asked) == 6


def test_given_an_endpoint_that_is_down_when_asked_then_one_line_says_so() -> None:
    with fake_judge() as fake:
        pass
    with pytest.raises(JudgeFailed, match="cannot be asked") as caught:
        judge_of(fake).label(EVIDENCE)
    assert caught.value.is_down
    assert "\n" not in str(caught.value)


def test_given_an_answer_that_never_ends_when_asked_then_the_time_limit_holds() -> None:
    with fake_judge() as fake:
        fake.stuck.clear()
        with pytest.raises(JudgeFailed, match="took too long") as caught:
            judge_of(fake, timeout_s=0.2).label(EVIDENCE)
    assert caught.value.is_down
    assert len(fake.asked) == 3


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"{}", b"[]", b"null", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}', b"\xff",
     b"[" * 100_000, b"x" * (2 << 20)],
    ids=["html", "object", "list", "null", "no choice", "no content", "bytes", "deep", "long"],
)  # fmt: skip
def test_given_a_body_in_no_known_form_when_asked_then_that_feature_fails(body: bytes) -> None:
    with fake_judge() as fake:
        fake.body = body
        with pytest.raises(JudgeFailed) as caught:
            judge_of(fake).label(EVIDENCE)
    assert not caught.value.is_down


@pytest.mark.parametrize(
    "url",
    ["ftp://host/v1", "host:80", "http://", f"https://user:{SECRET}@host/v1", f"https://host/v1?api_key={SECRET}",
     f"https://host/v1#{SECRET}", "http://host:notaport/v1", f"http://[{SECRET}"],
)  # fmt: skip
def test_given_an_address_that_is_none_or_holds_a_secret_then_it_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        Params(judge=url)
    assert SECRET not in str(caught.value)


def test_given_an_address_when_checked_then_its_ends_are_evened() -> None:
    expected = "https://host:8000/v1"
    assert {check_url(expected + end) for end in ("", "/", "/chat/completions")} == {expected}
