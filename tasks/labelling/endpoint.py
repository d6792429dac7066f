"""An OpenAI-compatible endpoint as a judge. Its key comes from the environment and is neither stored nor printed."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from store.errors import BadInput, WorkbenchError
from tasks.labelling import prompts
from tasks.labelling.passages import Evidence, Question
from tasks.labelling.scoring import Answers, JudgeFailed, Method

KEY_VARIABLE = "WORKBENCH_JUDGE_KEY"
_LARGEST_ANSWER = 1 << 20
_PIECE = 1 << 14
_QUESTIONS_AT_ONCE = 10
_REFUSED = (401, 403, 404)
_TRY_AGAIN = (408, 409, 425, 429)
_SERVER_FAULT = 500
_ADDRESS = "https://HOST/v1, without a key in it"


def check_url(url: str) -> str:
    """The base URL as it is kept; `BadInput` if it is none, or holds what may be a secret."""
    try:
        parts = urlsplit(url)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError as error:
        raise BadInput(f"the judge's address cannot be read ({error})", f"write {_ADDRESS}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_number:
        raise BadInput("the judge's address is no http address", f"write {_ADDRESS}")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        fault = "the judge's address holds more than a place"
        raise BadInput(fault, f"write {_ADDRESS}; a key goes into ${KEY_VARIABLE}")
    return url.rstrip("/").removesuffix("/chat/completions")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another place."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


@dataclass
class EndpointJudge:
    """Asks `url`/chat/completions for each feature's label and for lists of answers, at temperature 0."""

    url: str
    """The base address, as `check_url` returns it."""
    model: str
    timeout_s: float = 60.0
    """For one whole answer, however slowly it comes."""
    tries: int = 3
    longest_answer: int = 512
    """Tokens."""
    wait: Callable[[float], object] = time.sleep
    """How the time between tries is spent; may raise to stop."""
    _opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(_NoRedirect), repr=False
    )

    @property
    def name(self) -> str:
        """The model, and where it is asked."""
        return f"{self.model or 'default'} at {urlsplit(self.url).netloc}"

    def label(self, evidence: Evidence) -> str:
        """One question."""
        return prompts.read_label(self._ask(prompts.label_request(evidence)), self.name)

    def answers(self, label: str, questions: Sequence[Question], method: Method) -> Answers:
        """Ten questions at once."""
        found: Answers = []
        for first in range(0, len(questions), _QUESTIONS_AT_ONCE):
            some = questions[first : first + _QUESTIONS_AT_ONCE]
            found += prompts.read_list(self._ask(prompts.list_request(label, some, method)), len(some))
        return found

    def _ask(self, request: str) -> str:
        """The answer's text. Tries again after what may pass; `JudgeFailed` when that is used up."""
        for attempt in range(self.tries):
            if attempt:
                self.wait(min(2.0 ** (attempt - 1), 30.0))
            try:
                return _content(self._post(request), self.name)
            except urllib.error.HTTPError as error:
                failure = self._refusal(error.code)
                if not (error.code in _TRY_AGAIN or error.code >= _SERVER_FAULT):
                    raise failure from None
            except (OSError, http.client.HTTPException) as error:
                reason = error.reason if isinstance(error, urllib.error.URLError) else error
                words = "took too long to answer" if isinstance(reason, TimeoutError) else f"cannot be asked ({reason})"
                failure = JudgeFailed(f"{self.name} {words}", "start it, or run the same command again", is_down=True)
        raise failure

    def _refusal(self, code: int) -> WorkbenchError:
        if code in _REFUSED:
            mend = f"see --judge, --judge-model and ${KEY_VARIABLE}"
            return WorkbenchError(f"{self.name} refuses to be asked (HTTP {code})", mend)
        return JudgeFailed(f"{self.name} answers HTTP {code}", "run the same command again", code >= _SERVER_FAULT)

    def _post(self, request: str) -> bytes:
        """The body of the answer, within the time and the size that are allowed."""
        deadline = time.monotonic() + self.timeout_s
        asked = urllib.request.Request(f"{self.url}/chat/completions", self._body(request), _headers(), method="POST")
        with self._opener.open(asked, timeout=self.timeout_s) as response:
            body = b""
            while piece := response.read1(_PIECE):
                body += piece
                if time.monotonic() > deadline:
                    raise TimeoutError
                if len(body) > _LARGEST_ANSWER:
                    raise JudgeFailed(f"{self.name} answers with more than a megabyte", "ask another judge")
        return body

    def _body(self, request: str) -> bytes:
        turns = [{"role": "system", "content": prompts.SYSTEM}, {"role": "user", "content": request}]
        named = {"model": self.model} if self.model else {}
        return json.dumps(named | {"messages": turns, "temperature": 0, "max_tokens": self.longest_answer}).encode()


def _headers() -> dict[str, str]:
    """The key is read anew for each question, and stays in this frame."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise BadInput(f"${KEY_VARIABLE} holds what no key does", "set it to the key alone")
    return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


def _content(body: bytes, judge: str) -> str:
    """The text of the first choice."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        content = None
    if not isinstance(content, str):
        raise JudgeFailed(f"{judge} answers in no form that is known", "give the address of an OpenAI-compatible API")
    return content
