"""The room that is left on a page of a given size."""

from typing import Any

from markupsafe import Markup


class Budget:
    """The bytes that are left on the page."""

    def __init__(self, left: int) -> None:
        self.left = left

    def fit(self, texts: dict[Any, Markup]) -> dict[Any, Markup]:
        """The texts that still fit, tried in order."""
        kept = {}
        for name, text in texts.items():
            if size(text) <= self.left:
                self.left -= size(text)
                kept[name] = text
        return kept

    def fit_most(self, texts: dict[Any, Markup]) -> dict[Any, Markup]:
        """As many texts as fit, in their order. The shortest are tried first, so that a long one keeps none out."""
        kept = self.fit({name: texts[name] for name in sorted(texts, key=lambda name: len(texts[name]))})
        return {name: text for name, text in texts.items() if name in kept}


def size(text: str) -> int:
    """The bytes of a text on the page."""
    return len(text.encode(errors="replace"))
