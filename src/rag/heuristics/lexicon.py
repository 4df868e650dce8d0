"""Which English words carry grammar, numbers, direction, negation and doubt?"""

from __future__ import annotations

import re
from collections.abc import Mapping

SPELLINGS = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "‑": "-"})
CONTRACTIONS = re.compile(r"\b([A-Za-z]{1,12}) ' ?(t|s|m|re|ve|ll|d)\b")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTION_WORDS = _words(
    """a an the of on in at to for from by with and or but nor as if when whenever while where whether that than then
    so because via through per among amongst across within between upon onto into over under is are was were be been
    being am do does did doing done has have had having will would can could should shall may might must i we you he
    she it they me us him her them my our your his their its this these those there here what which who whom whose
    why how any all some each every both either out up down about after before since until during again ever also
    too only just even still yet very really s t m re ve ll d don it's one ones such own other another more most
    much many well oh yes yeah ok okay like quite rather himself herself itself themselves myself yourself said says
    say"""
)
NEGATIONS = _words(
    "not no never none neither nor without cannot lack lacks lacked lacking nobody nothing hardly unable fail fails "
    "failed failing absence absent"
)
SCALES: Mapping[str, float] = {
    "hundred": 1e2, "thousand": 1e3, "k": 1e3, "million": 1e6, "millions": 1e6, "mn": 1e6, "mio": 1e6, "m": 1e6,
    "billion": 1e9, "billions": 1e9, "bn": 1e9, "b": 1e9, "trillion": 1e12,
}  # fmt: skip
NUMBER_WORDS: Mapping[str, int] = {
    word: value
    for value, word in [
        *enumerate(
            [
                "two",
                "three",
                "four",
                "five",
                "six",
                "seven",
                "eight",
                "nine",
                "ten",
                "eleven",
                "twelve",
                "thirteen",
                "fourteen",
                "fifteen",
            ],
            2,
        ),
        *enumerate(["sixteen", "seventeen", "eighteen", "nineteen"], 16),
        *(
            (tens * 10, word)
            for tens, word in enumerate(
                ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
            )
        ),
    ]
}
ORDINALS: Mapping[str, str] = {
    word: f"{place}th"
    for place, word in enumerate(
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], 1
    )
}
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
MONTHS: Mapping[str, str] = {
    **{f"{place:02d}": name for place, name in enumerate(_MONTHS, 1)},
    **{name[:3]: name for name in _MONTHS if name != "may"},
    "sept": "september",
}

RISING = _words(
    """increase increases increased increasing rise rises rose risen rising raise raises raised raising grow grows grew
    grown growing growth higher more greater elevate elevates elevated elevating elevation enhance enhances enhanced
    enhancing enhancement improve improves improved improving improvement upregulate upregulates upregulated
    upregulation promote promotes promoted promoting promotion activate activates activated activating activation
    induce induces induced inducing induction stimulate stimulates stimulated stimulating stimulation boost boosts
    boosted boosting gain gains gained gaining accumulate accumulates accumulated accumulation enlarge enlarged
    expand expands expanded expanding expansion strengthen strengthens strengthened exacerbate exacerbates
    exacerbated accelerate accelerates accelerated excess surge surged climb climbs climbed jump jumped up longer
    exceed exceeds exceeded above outperform outperformed drive drives drove driven lift lifts lifted improves
    facilitate facilitates facilitated larger better doubled tripled double triple aggravate aggravates aggravated"""
)
FALLING = _words(
    """decrease decreases decreased decreasing reduce reduces reduced reducing reduction reductions decline declines
    declined declining fall falls fell fallen falling drop drops dropped dropping lower lowers lowered lowering less
    fewer diminish diminishes diminished diminishing attenuate attenuates attenuated attenuation downregulate
    downregulates downregulated downregulation inhibit inhibits inhibited inhibiting inhibition suppress suppresses
    suppressed suppressing suppression block blocks blocked blocking impair impairs impaired impairing impairment
    prevent prevents prevented preventing prevention weaken weakens weakened loss losses lose loses lost losing
    deplete depleted depletion shrink shrinks shrank limit limits limited ameliorate ameliorates ameliorated protect
    protects protected protective abolish abolishes abolished abrogate abrogates abrogated deficiency deficient down
    slow slows slowed cut cuts plunge plunged slid slipped shorter below worse worsened worsen smaller delay delays
    delayed hurt hurts hinder hinders halved halve missed undershot counteract counteracts antagonize antagonizes"""
)
NULL_HEADS = _words(
    """effect effects difference differences differ association associations associated associate change changes
    changed correlation correlated relationship impact influence affect affects affected evidence benefit link
    linked role significant significantly related"""
)
CAUSES = _words(
    """cause causes caused causing drive drives drove driven driving lead leads led leading produce produces produced
    results resulted because due attributable owing thanks trigger triggers triggered"""
)
ASSOCIATIONS = _words(
    """associated associate association associations correlate correlates correlated correlation correlations linked
    link related relationship coincide coincides coincided coincident alongside accompanied accompanies"""
)
_OPPOSITES = (
    "before after", "above below", "always never", "all none", "high low", "higher lower", "more less",
    "more fewer", "early late", "earlier later", "win lose", "won lost", "positive negative", "benign malignant",
    "first last", "open closed", "open close", "accept reject", "accepted rejected", "success failure",
    "succeeded failed", "safe unsafe", "best worst", "better worse", "largest smallest", "highest lowest",
    "most least", "increase decrease", "strong weak", "strongest weakest", "sufficient insufficient",
    "necessary unnecessary", "essential dispensable", "resistance sensitivity", "resistant sensitive",
    "dependent independent", "significant insignificant", "old young", "older younger", "elderly young",
    "male female", "men women", "man woman", "present absent", "presence absence", "with without", "acute chronic",
    "primary secondary", "maternal paternal", "left right", "same different", "similar different", "support oppose",
    "supported opposed", "approved refused", "approved rejected", "guilty innocent", "alive dead", "new old",
    "urban rural", "full empty", "public private", "anterior posterior", "homozygous heterozygous", "ahead behind",
    "exceeded missed", "gain loss", "gains losses", "profit loss", "reached missed", "activator inhibitor",
    "agonist antagonist", "upstream downstream", "common rare", "rapid slow", "fast slow", "long short",
    "longer shorter", "buy sell", "bought sold", "arrived left", "north south", "east west", "minimum maximum",
    "lower upper", "larger smaller",
)  # fmt: skip


def _opposites() -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in _OPPOSITES:
        one, other = pair.split()
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}


ANTONYMS: Mapping[str, frozenset[str]] = _opposites()
VAGUE = _words(
    """various several many numerous combination factors factor popular important significant significantly known
    different certain number variety range including include includes generally typically often usually overall
    additionally furthermore however also make made provide provides provided aspects things ways role major key
    particularly especially widely well-known famous beautiful interesting unique great good"""
)
DENIALS = _words(
    """unable incapable uninvolved independent inaccurate ineffective unaffected unrelated unlikely insufficient
    inadequate dispensable unnecessary unimportant irrelevant unchanged uncommon insensitive unsafe invalid useless
    nonexistent absent lack refuse deny denies denied contrary"""
)
"""Words that deny without "not"."""
ABSOLUTES = _words("solely exclusively only entirely completely always never every all none")
TALK = _words(
    """know think believe guess sure really love like enjoy great cool nice awesome interesting fun agree hear heard
    read favorite favourite wow yeah yes haha actually maybe probably definitely sorry thing things lot lots tell want
    hope feel good right pretty exactly true amazing wonderful though remember see look looks seem seems thats im
    didnt dont also well understand mean course"""
)
"""Words of conversation that claim nothing about the world."""
