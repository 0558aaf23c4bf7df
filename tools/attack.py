"""Run every hostile submission through `nbgrader autograde` and print what came of it: `make attack`.

The course it runs in holds canaries where no submission may look: in the hidden graders, the grader's environment,
another student's folder, the course's secret, the solutions and the gradebook. Afterwards each is searched for, also
encoded, in every file that grading wrote; and the machine is compared with how it was before.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

import click
import psutil
from nbgrader.api import Gradebook
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autograder.core.grade_report import GradeReport, Status
from autograder.core.text import clean_text
from autograder.course import report_store
from autograder.course.gradebook import read_marks
from autograder.judging import datasets
from autograder.review.staff_report.page_names import STUDENTS, student_page
from tools import published
from tools.costs import Cost, run_and_watch
from tools.flagged import build_flagged, flagged_names, read_flagged
from tools.hostile import Attack, build, read_attacks, read_twins
from tools.samples import ASSIGNMENT, ROOT, executable, make_course

VICTIM = "victim"
LIMITS = "cell_seconds=6, notebook_seconds=45, submission_seconds=90, probe_seconds=20, memory_mib=2048, processes=64"
CONFIG = '''"""The course's configuration with tight limits, and with graders that hold a canary."""

import dataclasses
import runpy
from pathlib import Path

from autograder.config import Limits

COURSE = runpy.run_path({path!r})["COURSE"]
ASSIGNMENTS = {{
    name: dataclasses.replace(assignment, graders=Path({graders!r})) for name, assignment in COURSE.assignments.items()
}}
COURSE = dataclasses.replace(COURSE, assignments=ASSIGNMENTS, data={data!r}, limits=Limits({limits}))
'''
WATCHED = ("/proc/sys/vm/swappiness", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/etc/passwd")
SCRIPT_WORD = "pwned"  # attacks that plant script, or what a page would fetch, name it so
FETCHED = {"src", "srcset", "background", "poster", "data", "action", "formaction", "style"}
DRAWN = "drawn arguments"
ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Outcome:
    """What came of one submission. `wrong` says in which it was graded otherwise than it must be."""

    attack: Attack
    earned: float
    wrong: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    cost: Cost = field(default_factory=Cost)

    @property
    def gained(self) -> float:
        return max(0.0, round(self.earned - self.attack.points, 1)) if not self.attack.is_twin else 0.0

    @property
    def is_good(self) -> bool:
        return not self.gained and not self.wrong and not self.effects


@dataclass(frozen=True)
class Result:
    """The outcomes of one course, and effects that no single submission can be blamed for."""

    outcomes: Sequence[Outcome]
    effects: Sequence[str] = ()


@dataclass
class Course:
    """A course with canaries and hostile submissions in a folder of its own."""

    root: Path
    attacks: Sequence[Attack]
    data: str
    canaries: dict[str, str] = field(default_factory=dict)  # where it was planted -> its text

    @cached_property
    def outside(self) -> Path:
        """What lies beside the course: temporary files of the grader, and the places that attacks aim at."""
        return self.root.with_name(self.root.name + "-outside")

    def set_up(self, port: int) -> None:
        """Generate the release, plant the canaries, build the submissions."""
        make_course(self.root, {VICTIM: "reference"}, self.data)
        _empty(self.outside)
        (self.outside / "tmp").mkdir(parents=True)
        (self.outside / "traces").mkdir()
        (self.outside / "traces").chmod(0o1777)
        graders = self.root / "hidden_graders"
        shutil.copytree(ROOT / "autograder" / "graders", graders, ignore=shutil.ignore_patterns("__pycache__"))
        config = {"path": str(ROOT / "grader_config.py"), "graders": str(graders), "data": self.data, "limits": LIMITS}
        (self.root / "grader_config.py").write_text(CONFIG.format(**config))
        self._plant(graders)
        for attack in self.attacks:
            folder = self.root / "submitted" / attack.name / ASSIGNMENT
            build(attack, folder, self.data, self._places(attack, port))

    def _places(self, attack: Attack, port: int) -> dict[str, str]:
        trace = self.outside / "traces" / attack.name
        return {"@TRACE@": str(trace), "@PORT@": str(port), "@COURSE@": str(self.root)}

    def _plant(self, graders: Path) -> None:
        self.canaries = {
            place: f"canary-{place.replace(' ', '-')}-{secrets.token_hex(8)}"
            for place in ("hidden graders", "environment", "another folder", "solutions", "gradebook")
        }
        for path in graders.glob("test_*.py"):
            path.write_text(f'{path.read_text()}\n\nCANARY = "{self.canaries["hidden graders"]}"\n')
        (self.root / "submitted" / VICTIM / ASSIGNMENT / "notes.txt").write_text(self.canaries["another folder"])
        (self.root / "solutions" / ASSIGNMENT).mkdir(parents=True)
        (self.root / "solutions" / ASSIGNMENT / "answers.txt").write_text(self.canaries["solutions"])
        with Gradebook(f"sqlite:///{self.root / 'gradebook.db'}") as gradebook:
            gradebook.add_student(VICTIM, last_name=self.canaries["gradebook"])
        # The secret is its own canary.
        (self.root / ".autograder").mkdir(exist_ok=True)
        self.canaries["course secret"] = secrets.token_hex(32)
        self.canaries[DRAWN] = "canary-drawn-arguments"  # attacks write it beside what they were called with
        (self.root / ".autograder" / "secret").write_text(self.canaries["course secret"])

    @property
    def environment(self) -> dict[str, str]:
        """What commands run with: a canary is in it."""
        return {**os.environ, "TMPDIR": str(self.outside / "tmp"), "LMS_TOKEN": self.canaries["environment"]}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command as an instructor gives it."""
        return subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)

    def watch(self, *command: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Cost]]:
        """The same, and what each submission costs."""
        return run_and_watch(command, self.root, self.environment, [each.name for each in self.attacks])

    def kept(self) -> dict[str, str]:
        """Digests of what grading may not touch: everything of the course's, and every file that was handed in."""
        folders = ("source", "release", "hidden_graders", "solutions", "submitted", "grader_config.py")
        found = {}
        for folder in (*folders, "nbgrader_config.py", ".autograder/secret"):
            for path in _regular_files(self.root / folder):
                if "__pycache__" in path.parts or (folder == "submitted" and path.stat().st_nlink > 1):
                    continue  # a hard link is another file's content, and may be set aside
                found[str(path.relative_to(self.root))] = _digest(path)
        return found


def _regular_files(place: Path) -> Iterator[Path]:
    """Every regular file below a place; links are not followed, and folders too deep for a path end the way down."""
    pending = [place] if place.is_dir() else []
    if place.is_file():
        yield place
    while pending:  # os.walk calls itself for every folder on the way down
        entries: list[os.DirEntry[str]] = []
        with suppress(OSError):  # a path too long to be told
            entries = sorted(os.scandir(pending.pop()), key=lambda entry: entry.name)
        pending += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        yield from (Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False))


def _empty(place: Path) -> None:
    """Take away a folder, however deep: Python's own way calls itself for every folder on the way down."""
    subprocess.run(["rm", "-rf", "--", str(place)], check=True)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > 1 << 28:  # sparse files of attacks: their size says enough
            return str(os.fstat(file.fileno()).st_size)
        return hashlib.sha256(file.read()).hexdigest()


def attack(root: Path, attacks: Sequence[Attack], kind: str) -> Result:
    """Grade these submissions in one course, and look for everything that they must not have done."""
    course = Course(root, attacks, kind)
    with listening() as (port, callers):
        course.set_up(port)
        before, processes, machine = course.kept(), set(psutil.pids()), _machine()
        graded, costs = course.watch(executable("nbgrader"), "autograde", ASSIGNMENT)
        again = course.run(executable("nbgrader"), "autograde", ASSIGNMENT)  # nothing left over may stop a second run
        feedback, pages = course.watch(executable("nbgrader"), "generate_feedback", ASSIGNMENT)
        report = course.run(executable("autograder"), "report", ASSIGNMENT)
    general = [f"somebody called from {caller}" for caller in callers]
    for done in (graded, again, feedback, report):
        if done.returncode:
            general.append(f"{' '.join(map(str, done.args))} ended with {done.returncode}: {done.stderr[-500:]}")
    general += _harm_to_others(course)
    general += [f"{name} changed" for name, value in _machine().items() if value != machine[name]]
    general += [f"left in the temporary folder: {p.name}" for p in (course.outside / "tmp").iterdir()]
    general += _left_processes(processes)
    told = "\n".join(done.stdout + done.stderr for done in (graded, again, feedback, report))
    effects = _changed(before, course.kept(), _set_aside(course)) + find_canaries(course) + find_script(course)
    effects += find_escapes(course, told) + find_published(course)
    effects += [(f"traces/{p.name}", "a file outside the jail") for p in (course.outside / "traces").iterdir()]
    outcomes = [replace(_outcome(course, a, effects), cost=costs[a.name] + pages[a.name]) for a in attacks]
    blamed = {each.name for each in attacks}
    general += [f"{what}: {path}" for path, what in effects if not blamed & set(re.split(r"[/.]", path))]
    return Result(outcomes, general)


def _harm_to_others(course: Course) -> list[str]:
    """What the one honest student among all these lost."""
    report = report_store.load_report(course.root, ASSIGNMENT, VICTIM)
    if report is None:
        return ["the honest student was not graded"]
    lost = [check for check in report.checks if check.status is not Status.PASSED]
    return [f"the honest student lost {check.name}: {check.message}" for check in lost]


def _machine() -> dict[str, str]:
    return {name: Path(name).read_text() for name in WATCHED if Path(name).is_file()}


def _left_processes(before: set[int]) -> list[str]:
    """Processes of a jail that outlived the grader: nobody is left above them. Those of another grader have theirs."""
    time.sleep(1)  # for what has been killed to be gone
    left = []
    for process in psutil.process_iter(["pid", "name"]):
        with suppress(psutil.Error):  # it has ended
            if process.pid not in before and _is_jailed(process) and not any(map(_is_owner, process.parents())):
                left.append(f"a process outlived the grader: {process.info['name']}")
    return left


def _is_jailed(process: psutil.Process) -> bool:
    words = " ".join(process.cmdline())
    return "autograder.worker" in words or "bwrap" in words


def _is_owner(process: psutil.Process) -> bool:
    return process.pid != 1 and not _is_jailed(process)


def _changed(
    before: Mapping[str, str], after: Mapping[str, str], aside: Mapping[str, set[str]]
) -> list[tuple[str, str]]:
    """What is not as it was, but for files of a submission that lie in its quarantine now."""
    different = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    moved = {
        name
        for name in different
        if name.startswith("submitted/") and name not in after and before[name] in aside.get(name.split("/")[1], set())
    }
    return [(name, "changed") for name in different if name not in moved]


def _set_aside(course: Course) -> dict[str, set[str]]:
    """Digests of what lies in quarantine, by student."""
    place = course.root / ".autograder" / "quarantine" / ASSIGNMENT
    folders = place.iterdir() if place.is_dir() else ()
    return {folder.name: {_digest(path) for path in _regular_files(folder)} for folder in folders}


# The gradebook's canary is the victim's name: the staff read it in the report's table and on the victim's own page.
NAMED = {f"reports/{ASSIGNMENT}/submissions.html", f"reports/{ASSIGNMENT}/{STUDENTS}/{student_page(VICTIM)}"}


def find_canaries(course: Course) -> list[tuple[str, str]]:
    """Every file with a canary that does not lie where it was planted: its path in the course, and which it is."""
    needles = {place: list(_spellings(text)) for place, text in course.canaries.items()}
    gradebook = _identity(course.root / "gradebook.db")
    planted = {_identity(path) for path in _regular_files(course.root) if _is_home(path, course.root)}
    found = []
    for path in _regular_files(course.root):
        name = str(path.relative_to(course.root))
        if path.stat().st_size > 1 << 28 or _identity(path) in planted:
            continue
        content = path.read_bytes()
        for place, spellings in needles.items():
            at_home = place == "gradebook" and (_identity(path) == gradebook or name in NAMED)
            at_home |= place == DRAWN and name.startswith(
                ".autograder/cache/"
            )  # the evidence, for the staff's questions
            if not at_home and any(spelling in content for spelling in spellings):
                found.append((name, f"holds the canary of the {place}"))
    return found


def _is_home(path: Path, root: Path) -> bool:
    """Whether a file is one in which canaries were planted, or belongs to the student whose canary it is."""
    name = str(path.relative_to(root))
    return name.startswith(("hidden_graders/", "solutions/", ".autograder/secret")) or f"/{VICTIM}/" in name


def _identity(path: Path) -> tuple[int, int]:
    """The same for every hard link to a file."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _spellings(text: str) -> Iterator[bytes]:
    """A text as it is, backwards, in hexadecimal digits, and in base64 at each of its three alignments."""
    plain = text.encode()
    yield from (plain, plain[::-1], plain.hex().encode())
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + plain)
        yield encoded[4 if shift else 0 : -4]


class _ScriptFinder(HTMLParser):
    """Whether a page holds script, a handler, a style, or an address to fetch that an attack planted."""

    found = False
    _in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag in ("script", "iframe", "object", "style")
        for name, value in attrs:
            active = name.startswith("on") or "javascript:" in "".join((value or "").split()).lower()
            loads = name in FETCHED or (tag, name) == ("link", "href")
            fetches = loads and tag != "a" and not (value or "").startswith("data:image/")
            self.found |= (active or fetches) and SCRIPT_WORD in (value or "")

    def handle_data(self, text: str) -> None:
        self.found |= self._in_script and SCRIPT_WORD in text

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


def find_script(course: Course) -> list[tuple[str, str]]:
    """Pages in which a browser would run what an attack planted."""
    found = []
    for path in _regular_files(course.root):
        if path.suffix == ".html" and "submitted" not in path.parts and not _is_own_file(course, path):
            finder = _ScriptFinder()
            finder.feed(path.read_text(errors="replace"))
            if finder.found:
                found.append((str(path.relative_to(course.root)), "runs or fetches what the attack planted"))
    return found


def _is_own_file(course: Course, path: Path) -> bool:
    """Whether a file is a copy of what a student handed in, under a name that no page of the grader has."""
    _, *rest = path.relative_to(course.root).parts
    original = course.root.joinpath("submitted", *rest)
    is_page = (course.root / "release" / ASSIGNMENT / f"{path.stem}.ipynb").exists()
    return not is_page and original.is_file() and _digest(original) == _digest(path)


def find_escapes(course: Course, told: str) -> list[tuple[str, str]]:
    """Lines on the terminal and in logs that would move the cursor, set a title or turn the writing direction."""
    logs = [p for p in (course.root / ".autograder" / "logs", *course.root.glob(".*.log")) if p.exists()]
    texts = [told, *(path.read_text(errors="replace") for log in logs for path in _regular_files(log))]
    found = []
    for line in "\n".join(texts).split("\n"):
        if ESCAPES.search(line):
            blamed = [each.name for each in course.attacks if each.name in line]
            found.append((f"terminal/{max(blamed, key=len, default='')}", f"control characters in {line[:200]!a}"))
    return found


def find_published(course: Course) -> list[tuple[str, str]]:
    """What lies in folders that are served or given to students and must not, what a browser is led to there, and pages
    that are missing or too large; without a browser what can be seen without one."""
    graded = {a.name: [a.notebook] for a in course.attacks if (course.root / "autograded" / a.name).is_dir()}
    found = {name: published.problems_with_files(course.root, ASSIGNMENT, name) for name in graded}
    with suppress(published.NoBrowser):
        for name, problems in published.problems_with_pages(course.root, ASSIGNMENT, graded).items():
            found[name] += problems
    return [(f"published/{name}", problem) for name, problems in found.items() for problem in problems]


def _outcome(course: Course, attack: Attack, effects: Sequence[tuple[str, str]]) -> Outcome:
    report = report_store.load_report(course.root, ASSIGNMENT, attack.name)
    own = tuple(f"{what}: {path}" for path, what in effects if attack.name in re.split(r"[/.]", path))
    if report is None:
        return Outcome(attack, 0.0, ("was not graded",), own)
    url = f"sqlite:///{course.root / 'gradebook.db'}"
    marks = read_marks(url, ASSIGNMENT, attack.name).get(attack.name, ())
    earned = round(sum(mark.score for mark in marks), 1)
    wrong = _differences(attack, report)
    if earned != report.earned:
        wrong.append(f"the gradebook has {earned:g} points, the report {report.earned:g}")
    return Outcome(attack, earned, tuple(wrong), own)


def _differences(attack: Attack, report: GradeReport) -> list[str]:
    """In what the report of a submission is not as it must be."""
    checks = {check.name: check for check in report.checks if check.notebook == attack.notebook}
    wrong = [f"{c.name} is INTERNAL: {c.message[:120]}" for c in checks.values() if c.status is Status.INTERNAL]
    if attack.is_twin:
        lost = [c for c in checks.values() if c.status is not Status.PASSED and (attack.checkpoint or c.points < 20)]
        return wrong + [f"{c.name} is {c.status.value}: {c.message[:120]}" for c in lost]
    if report.earned < attack.points:
        wrong.append(f"earned {report.earned:g}, but its honest part is worth {attack.points:g}")
    for name, status in attack.statuses.items():
        found = checks[name].status.value if name in checks else "no such check"
        if found != status:
            wrong.append(f"{name}: expected {status}, got {found}")
    told = " ".join([*map(str, report.notes), *report.facts.values(), *(c.message for c in report.checks)])
    shown = [cell.message for run in report.notebooks for cell in run.cells]
    told = " ".join([told, *shown, *(run.message for run in report.notebooks)])
    return wrong + [f"nothing says “{text}”" for text in attack.told if text not in told]


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine at which nobody may call; yields it and the list of those who did."""
    callers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with suppress(TimeoutError):
                    connection, address = server.accept()
                    callers.append(str(address))
                    connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], callers
        finally:
            ended.set()
            thread.join()


@dataclass(frozen=True)
class Flagged:
    """What came of a submission that no grader can refuse: the flag that it must raise, and those that it did."""

    name: str
    title: str
    wanted: str
    raised: Sequence[str]
    told: bool  # to the student

    @property
    def is_good(self) -> bool:
        return self.wanted in self.raised and not self.told


def grade_flagged(root: Path, kind: str) -> list[Flagged]:
    """Grade the submissions of `tests/submissions/flagged/`; the honest one among them must raise nothing."""
    make_course(root, {VICTIM: "reference"}, kind)
    for name in flagged_names():
        build_flagged(name, root / "submitted" / name / ASSIGNMENT, kind)
    for command in ("autograde", "generate_feedback"):
        subprocess.run([executable("nbgrader"), command, ASSIGNMENT], cwd=root, capture_output=True, check=True)
    found = []
    for name in [*flagged_names(), VICTIM]:
        report = report_store.load_report(root, ASSIGNMENT, name)
        flags = report.flags if report is not None else ()
        pages = [p.read_text() for step in ("autograded", "feedback") for p in _regular_files(root / step / name)
                 if p.suffix in (".ipynb", ".html")]  # fmt: skip
        told = any(flag.text[:60] in page for flag in flags for page in pages)
        sample = read_flagged(name) if name != VICTIM else {"title": "The reference solution", "flag": ""}
        raised = [flag.kind for flag in flags] or [""]
        found.append(Flagged(name, sample["title"], sample["flag"], raised, told))
    return found


def table_of_flags(found: Sequence[Flagged]) -> Table:
    table = Table("submission", "must be flagged as", "flagged as", title="Flagged, not refused", show_lines=True)
    for each in found:
        raised = ", ".join(filter(None, each.raised)) or "nothing"
        trouble = "" if each.is_good else " [red]✗[/red]" + " (the student is told)" * each.told
        table.add_row(f"[bold]{each.name}[/bold]: {each.title}", each.wanted or "nothing", raised + trouble)
    return table


def costs_of(outcomes: Sequence[Outcome]) -> str:
    """In a paragraph, what a submission costs to grade and to write feedback for, at most and usually."""
    longest, largest = (max(outcomes, key=lambda o: measure(o.cost)) for measure in (_seconds, _mib))
    twins = [outcome.cost for outcome in outcomes if outcome.attack.is_twin]
    usual = f"{max(map(_seconds, twins)):.0f} s and {max(map(_mib, twins)):,} MiB" if twins else "not measured"
    return (
        f"Longest: {longest.attack.name}, {longest.cost.seconds:.0f} s. Most memory: {largest.attack.name}, "
        f"{largest.cost.mib:,} MiB, with the grader's own. Honest twins: at most {usual}."
    )


def _seconds(cost: Cost) -> float:
    return cost.seconds


def _mib(cost: Cost) -> int:
    return cost.mib


def table_of(outcomes: Sequence[Outcome]) -> Table:
    table = Table("attack", "aim", "stopped by", title="Hostile submissions and their honest twins", show_lines=True)
    table.add_column("points gained", justify="right")
    table.add_column("side effects, and what is not as it must be")
    for outcome in outcomes:
        attack = outcome.attack
        trouble = [*outcome.effects, *outcome.wrong]
        shown = clean_text("; ".join(trouble[:8])) + (f"; and {len(trouble) - 8} more" if len(trouble) > 8 else "")
        told = f"[red]{escape(shown)}[/red]" if trouble else "[green]none[/green]"
        name = f"[bold]{attack.name}[/bold]: {attack.title}"
        gained = "–" if attack.is_twin else f"{outcome.gained:g}"
        table.add_row(name, attack.aim, attack.stopped_by or "honest twin", gained, told)
    return table


@click.command()
@click.option("--only", multiple=True, help="Run only attacks whose names hold this text.")
@click.option("--jobs", default=2, show_default=True, help="Courses that are graded side by side.")
@click.option("--keep", is_flag=True, help="Leave the courses there to look at.")
@click.option("--place", type=click.Path(path_type=Path), default=ROOT / ".attack", help="Where; it is emptied first.")
def main(only: Sequence[str], jobs: int, keep: bool, place: Path) -> None:
    """Attack the grader, and print a table of what came of it."""
    console = Console()
    source = datasets.find_source(allow_offline=True)
    kind = "offline" if source.form == "offline" else "cifar10"
    if kind == "cifar10" and source.path is not None:
        os.environ["CIFAR10_ROOT"] = str(source.path.resolve())
    place = place.resolve()
    _empty(place)
    chosen = [each for each in read_attacks() if not only or any(text in each.name for text in only)]
    needed = {each.twin for each in chosen}
    twins = [twin for twin in read_twins() if twin.name in needed]
    console.print(f"{len(chosen)} attacks and {len(twins)} honest twins, test set: {source}. About ten seconds each.")
    try:
        published.find_chromium()
    except published.NoBrowser as problem:
        console.print(f"[yellow]What a browser gets of them is not looked at: {escape(str(problem))}[/yellow]")
    found, general = _attack_side_by_side(place, [*chosen, *twins], kind, jobs)
    console.print(table_of(found))
    flagged = [] if only else grade_flagged(place / "flagged", kind)
    if flagged:
        console.print(table_of_flags(flagged))
    for effect in general:
        console.print(f"[red]{escape(clean_text(effect))}[/red]")
    console.print(costs_of(found))
    bad = sum(not outcome.is_good for outcome in found) + sum(not each.is_good for each in flagged)
    console.print(
        f"{len(chosen)} attacks: {sum(outcome.gained for outcome in found):g} points gained, {bad} not as they "
        f"must be, {len(general)} other side effects; {len(twins)} honest twins."
    )
    if not keep:
        _empty(place)
    raise SystemExit(1 if bad or general else 0)


def _attack_side_by_side(
    place: Path, submissions: Sequence[Attack], kind: str, jobs: int
) -> tuple[list[Outcome], list[str]]:
    """The outcomes in the order of the submissions, and effects that none of them can be blamed for."""
    parts = [submissions[start::jobs] for start in range(jobs)]
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda i: attack(place / f"course-{i}", parts[i], kind), range(jobs)))
    found = {outcome.attack.name: outcome for result in results for outcome in result.outcomes}
    return [found[each.name] for each in submissions], [effect for result in results for effect in result.effects]


if __name__ == "__main__":
    main()
