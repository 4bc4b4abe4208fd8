"""Published quality of language models as tickets and as their rivals at equal memory: what no simulator can say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quality:
    """One published comparison.

    Attributes
    ----------
    setting
        Which network, at which memory.
    measure
        What was measured; less is better in all of them.
    ticket, rival
        What each stores.
    ticket_value, rival_value
        Their figures.
    source
        Where they were published, and what of it could be read.
    note
        In what the two differ beside the storage.
    """

    setting: str
    measure: str
    ticket: str
    ticket_value: float
    rival: str
    rival_value: float
    source: str
    note: str

    @property
    def ticket_wins(self) -> bool:
        """Return whether the ticket is better."""
        return self.ticket_value < self.rival_value


_CONTEST = "Parameter Golf, a public contest of 2026: all of a language model in 16 MB"
_ENTRY = "contest's pull request 1753 (its description)"
QUALITY = (
    Quality(
        "1.3 B parameters, 2 bits a connection",
        "perplexity on C4",
        "mask of 2 bits, about 50 % zeros (TicketLLM)",
        13.54,
        "ternary (BitNet b1.58)",
        13.62,
        "Okoshi et al., TMLR 2025; of it a summary and the abstract could be read",
        "the only ticket of this size whose quality was found: a mask of 2 bits, nothing frozen",
    ),
    Quality(
        _CONTEST,
        "bits per byte",
        "seed and a mask of 1 bit, 118 M weights",
        1.29,
        "6-bit integers, best verified entry",
        1.06,
        f"{_ENTRY}; best entry: arXiv 2607.01517 (abstract)",
        "the mask was searched for 50,000 steps on one GPU, without the contest's limit of ten minutes; the best entry "
        "has much else besides",
    ),
    Quality(
        _CONTEST,
        "bits per byte",
        "seed and a mask of 1 bit, 118 M weights",
        1.29,
        "ternary, 67.5 M weights",
        1.22,
        f"{_ENTRY}; ternary: pull request 760 (its description)",
        "the ternary model kept the limit of ten minutes on eight GPUs",
    ),
)
"""In the order shown."""
