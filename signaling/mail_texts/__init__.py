"""What mails and calendars say, one file for each language."""

from __future__ import annotations

from typing import Final

from signaling.mail_texts.de import DE
from signaling.mail_texts.en import EN
from signaling.mail_texts.hi import HI
from signaling.mail_texts.texts import Texts

LANGUAGES: Final = {"en": EN, "de": DE, "hi": HI}


def texts_for(language: str) -> Texts:
    """Of a BCP 47 tag the language counts, not the region; English for one that nobody has written yet."""
    return LANGUAGES.get(language.partition("-")[0].lower(), EN)
