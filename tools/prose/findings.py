"""Findings of the linter: the forms of prose that the project's style forbids."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools.prose.passages import Kind, Passage

#: Characters of a docstring's first line, so that an editor's hint shows all of it.
LONGEST_FIRST_LINE = 88
#: A noun clause in place of an actor or a thing.
_CLAUSE = re.compile(r"(What|Who|Whoever|Which|Whether|That|Where|How|Why)\b")
#: A later sentence or clause whose subject is a bare pronoun.
_BARE_SUBJECT = re.compile(r"(?:[.;:]\s)(?:What|Who|Whoever|who|whoever)\s")
#: Idioms, and verbs of speech; data is recorded, reported or returned.
_WORDS = re.compile(r"\b(told|tells?|says|said|as it were|of its own|of their own|by now|as well)\b(?! as\b)", re.I)


@dataclass(frozen=True, slots=True)
class Finding:
    """A passage that breaks a rule."""

    passage: Passage
    rule: str

    def __str__(self) -> str:
        first, *_ = self.passage.text.splitlines()
        return f"{self.passage.path}:{self.passage.line} {self.rule}: {first}"


def findings(passage: Passage) -> Iterator[Finding]:
    """Yield one finding for each rule that the passage breaks."""
    first, *_ = passage.text.splitlines()
    if passage.kind is Kind.DOCSTRING and len(first) > LONGEST_FIRST_LINE:
        yield Finding(passage, f"first line over {LONGEST_FIRST_LINE} characters")
    if _CLAUSE.match(first):
        yield Finding(passage, "begins with a noun clause")
    if _BARE_SUBJECT.search(passage.text):
        yield Finding(passage, "bare subject")
    if found := _WORDS.search(passage.text):
        yield Finding(passage, f"word {found[0]!r}")
