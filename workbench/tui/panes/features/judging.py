"""Labels by a judge, and the report of a set's quality: what is asked of the person, and then of the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual import work

from tasks.labelling.endpoint import KEY_VARIABLE, check_url
from workbench.tui.messages import Asked, Told
from workbench.tui.panes.features import reading
from workbench.tui.panes.features.browser import FeatureBrowser
from workbench.tui.render.feature_quality import quality_view
from workbench.tui.render.tokens import show_text
from workbench.tui.screens.choice import Choice
from workbench.tui.screens.page import Page
from workbench.tui.screens.question import Question

MOST_AT_ONCE = 100
"""Features of a list that are labelled by one job."""
_PAGE_WIDTH = 110


class FeatureJudging(FeatureBrowser):
    """The list, the search and the card, with judges."""

    judge = ""
    """Who was asked last: an address and a model; empty for the project's own model."""

    @work
    async def action_judge(self) -> None:
        """Which features, and which judge; then a job."""
        card = self.card
        if card is None:
            self.app.bell()
            return
        dictionary = str(card["dictionary"])
        ids = self._pages.ids
        listed = await self.session.store.read(
            lambda project: reading.unlabelled(project, ids, dictionary, MOST_AT_ONCE)
        )
        offers = _offers(card, listed)
        chosen = await self.app.push_screen_wait(Choice("What is a judge to do?", [Text(words) for words, _ in offers]))
        if chosen is None:
            return
        words = (
            "Which judge? ADDRESS MODEL of an OpenAI-compatible endpoint, as http://host:8000/v1 name"
            f" (its key in ${KEY_VARIABLE}); empty: this project's own model"
        )
        answer = await self.app.push_screen_wait(Question(words, self.judge, check=judge_params))
        if answer is None:
            return
        self.judge = answer
        said, params = offers[chosen]
        self.post_message(Asked("label", {"dictionary": dictionary} | params | judge_params(answer), show_text(said)))

    @work
    async def action_quality(self) -> None:
        """The newest report of the set, if one was made since its index; else the worker makes one."""
        names = await self.session.store.read(reading.described_sets)
        dictionary = str(self.card["dictionary"]) if self.card is not None else next(iter(names), "")
        if not dictionary:
            self.post_message(Told("no dictionary set is described yet; i makes an index", error=True))
            return
        report = await self.session.store.read(lambda project: reading.quality_report(project, dictionary))
        if report is None:
            words = f"reporting on the features of {show_text(dictionary)}; this key shows the report once it is made"
            self.post_message(Asked("feature-quality", {"dictionary": dictionary}, words))
            return
        title = f"Quality of {show_text(dictionary)}, job {report['job']}"
        self.app.push_screen(Page(title, quality_view(report, _PAGE_WIDTH)))

    def state(self) -> Mapping[str, Any]:
        """And the judge that was asked last."""
        return {**super().state(), "judge": self.judge}

    async def restore(self, state: Mapping[str, Any]) -> None:
        """Bring it back."""
        self.judge = str(state.get("judge", ""))
        await super().restore(state)


def judge_params(answer: str) -> dict[str, str]:
    """The params of task `label` that an answer to "which judge?" means; `BadInput` for no address."""
    address, _, model = answer.strip().partition(" ")
    return {"judge": check_url(address), "judge_model": model.strip()} if address else {}


def _offers(card: Mapping[str, Any], listed: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """What a judge can do here, in words, with the params of each."""
    name = str(card["feature"])
    offers: list[tuple[str, dict[str, Any]]] = [
        (f"label {name}", {"features": [name], "again": True}),
    ]
    if card["label"]:
        offers.append((f"score the label of {name}", {"features": [name], "score_only": True}))
    if listed:
        n = len(listed)
        offers.append((f"label the {n} features of the list that have no label", {"features": listed, "limit": n}))
    return offers
