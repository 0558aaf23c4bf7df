"""What the integrity page says: signals about pairs of submissions and about single ones, and what each of them means.

Every kind of signal states how often honest work shows it; the figures are from `bench/weight_similarity.py` and from
the course's own honest samples (docs/integrity.md has the conditions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of signal: a short title, what was looked at, and how often honest submissions show the same."""

    title: str
    meaning: str
    honest: str


KINDS: Mapping[str, Kind] = {
    "same-file": Kind(
        "the same checkpoint file",
        "Both files are equal byte for byte (SHA-256), the notes that the kit writes into them included: among these "
        "the seconds that the training took, to a billionth.",
        "Two trainings never take equally long, so a file that the kit saved after one is only found twice where it "
        "was copied. Without such notes (another way of saving) the line below applies.",
    ),
    "same-weights": Kind(
        "the same weights in another file",
        "Every tensor is equal, bit for bit; the files differ in what else they hold, or in the tensors' names.",
        "Honest pairs can show it: the same class, transforms, settings and the kit's default seed, on computers that "
        "round alike, give the same weights (measured: a training that was repeated on one machine agreed in every "
        "bit). Compare the code of class and training, and the seconds of training, before anything else.",
    ),
    "same-values": Kind(
        "the same weights in another order",
        "The same numbers stand in tensors of the same sizes, in another order: as when channels are exchanged, which "
        "leaves what a network computes as it is.",
        "No training does this by itself; not seen in any honest pair.",
    ),
    "near-weights": Kind(
        "nearly the same weights",
        "The weights, or where the initial values are known what training has made of them, are correlated far more "
        "strongly than in separate trainings: as after a little further training, or with noise added.",
        "None of 66 pairs of independent seeds (0.08 at most) and none of 55 pairs that share the kit's default seed, "
        "and so their initial values (0.89 of the weights, 0.76 of the change): with 95 % confidence fewer than 3 % of "
        "such pairs. Listed from 0.85 of the change, or 0.94 of the weights where it is not known. After a very short "
        "training (100 steps) honest pairs with equal settings come near: 0.97 is asked for there.",
    ),
    "near-filters": Kind(
        "nearly the same first filters",
        "For almost every filter of the first convolution the other network has one of the same shape, whatever its "
        "place and size: what is left when channels are exchanged or scaled.",
        "None of the same 121 pairs (0.63 at most, with the kit's default seed 0.96). Listed from 0.975, not after a "
        "very short training. Networks that start from the same published filters would show it.",
    ),
    "code": Kind(
        "nearly the same code",
        "Sequences of tokens, with names and comments taken out, agree once all lines are left out that the release, "
        "the lesson or the kit has, or that many in the class wrote.",
        "Of 484 pairs of the course's honest designs 2 are listed, each made by changing the other. It depends on how "
        "free an exercise leaves its answer: this class's own figures, and the threshold from them, are shown below.",
    ),
    "words": Kind(
        "nearly the same text",
        "The words of a written answer agree, in their order.",
        "As for code. Students who discussed an answer, or who used the same source, show it too.",
    ),
    "test-set": Kind(
        "better on the public test images than on others",
        "The model is better on the public test images than on others of the same kind by more than chance and by more "
        "than the class is.",
        "Each line gives its own figures. Sampling alone exceeds the bound in fewer than one of 10,000 models; the "
        "spread between honest models of this class is allowed for.",
    ),
    "untrained": Kind(
        "weights as they were drawn",
        "The handed-in weights are the initial values of the kit's default seed.",
        "Saving before training, or a training that was broken off, does it. All such files are alike, and are not "
        "compared with each other.",
    ),
    "flag": Kind(
        "noticed when it was graded",
        "A flag of the grader: valid by the rules, worth a look. Each says how often honest work shows it.",
        "As the flag says; see docs/flags.md.",
    ),
    "shadow": Kind(
        "a file in place of the course's or a library's",
        "A file that Python would have imported instead of a module of the course's or of a library.",
        "Happens by accident: a notebook saved as torch.py, a compiled copy of the kit. It had no effect on the marks: "
        "scores are computed outside the process that could import it.",
    ),
    "blocked": Kind(
        "set aside before grading",
        "Links, special files, and names that are no file's business in a hand-in. They were moved away unopened.",
        "Mostly accidents: archives of a whole home folder hold links and sockets. A link to the gradebook does not "
        "come about by itself.",
    ),
    "course-text": Kind(
        "changed the course's own cells",
        "Test cells, marks or tags of the course had been changed; the release's were put back.",
        "Frequent and nearly always harmless: cells are edited, copied and deleted by accident.",
    ),
    "hidden-text": Kind(
        "code that does not run as it reads",
        "Characters that change the direction of text stand in the code.",
        "Not seen in honest notebooks; can come along when text in Arabic or Hebrew is pasted.",
    ),
    "killed": Kind(
        "ended by the jail",
        "The process died, was stopped at a limit, or ended itself while it ran.",
        "Mostly endless loops and too much memory. A process that ends itself (os._exit) is seldom an accident. Denied "
        "system calls are not recorded one by one: they raise an ordinary error in the student's code.",
    ),
}
LIMITS = (
    "Not caught: copied weights that were trained for as long again, or in another order a little further; networks of "
    "another shape "
    "that were trained to imitate a copied one; code that was rewritten by a person or a language model from somebody "
    "else's idea; whatever was handed in last year or elsewhere."
)


@dataclass(frozen=True)
class LinePair:
    """Two lines that face each other in a passage; "" where one side has none."""

    one: str
    other: str
    same: bool


@dataclass(frozen=True)
class SignalEvidence:
    """One way in which two submissions are alike. `strength` lies in 0..1, `place` is a notebook or a file."""

    kind: str
    place: str
    strength: float
    text: str
    passage: Sequence[LinePair] = ()

    @property
    def title(self) -> str:
        return KINDS[self.kind].title


@dataclass(frozen=True)
class Pair:
    """Two submissions, or a submission and something that the course ships, and how they are alike."""

    one: str
    other: str
    evidence: Sequence[SignalEvidence]
    note: str = ""

    @property
    def strength(self) -> float:
        """For sorting only: several signals weigh more than one."""
        return sum(found.strength for found in self.evidence)

    @property
    def what(self) -> str:
        return kinds_in_words(self.evidence)


def kinds_in_words(evidence: Sequence[SignalEvidence]) -> str:
    """What is alike, in a line: each kind once, with the notebooks where it is about these, each once."""
    places: dict[str, dict[str, None]] = {}
    for found in evidence:
        places.setdefault(found.kind, {}).update({found.place: None} if found.passage else {})
    return "; ".join(KINDS[kind].title + f" ({', '.join(own)})" * bool(own) for kind, own in places.items())


@dataclass(frozen=True)
class Sign:
    """Something about one submission."""

    student: str
    kind: str
    place: str
    text: str

    @property
    def title(self) -> str:
        return KINDS[self.kind].title


@dataclass(frozen=True)
class ImageComparison:
    """One model on two sets of images: the drop in accuracy, its 95 % interval, and how it stands in the class.

    `drop`, `low`, `high` and `baseline` (the class's median drop) lie in -1..1; `deviations` counts standard errors
    beyond the baseline, the class's own spread included.
    """

    what: str
    correct: int
    images: int
    other_correct: int
    other_images: int
    drop: float
    low: float
    high: float
    baseline: float
    deviations: float
    stands_out: bool


@dataclass(frozen=True)
class StudentComparisons:
    """The comparisons of one student's model, or the reason why there are none."""

    student: str
    comparisons: Sequence[ImageComparison] = ()
    problem: str = ""


@dataclass(frozen=True)
class Spread:
    """How alike the class's own pairs are in one place: what the threshold was taken from."""

    place: str
    kind: str
    compared: int
    pairs: int
    median: float
    high: float
    threshold: float


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows. `problems` names what could not be looked at, and why."""

    assignment: str
    students: Sequence[str]
    checkpoints: int
    pairs: Sequence[Pair] = ()
    copies: Sequence[Pair] = ()
    signs: Sequence[Sign] = ()
    models: Sequence[StudentComparisons] = ()
    spreads: Sequence[Spread] = ()
    problems: Sequence[tuple[str, str]] = ()
    more: int = 0  # pairs that are left out because others are more alike
