"""Texts for people, each in English and in Chinese.

Above: `evaluation`, whose reports and results are read in either language. Below: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One text. Both languages have the same places in braces, as `str.format` has them."""

    en: str
    zh: str

    def filled(self, **values: object) -> Text:
        """Return the text with `values` in its places; a `Text` among them in the language of the
        whole."""
        english = {name: value.en if isinstance(value, Text) else value for name, value in values.items()}
        chinese = {name: value.zh if isinstance(value, Text) else value for name, value in values.items()}
        return Text(self.en.format(**english), self.zh.format(**chinese))
