"""What a browser gets of a graded submission: each file and page that formgrader and the folder of feedback serve, in a
real one, with a formgrader that could set marks.

    python -m tools.published COURSE ASSIGNMENT STUDENT …

A file that a browser would run or take for a page, a link of a student's that leads to formgrader or to a file, a
request that a page makes, a complaint in the console, and a changed mark are problems.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import click
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, Route, sync_playwright

from autograder.core.config import load_course
from autograder.course.links import is_public
from autograder.course.published import FORMS, SECRET, is_checkpoint
from autograder.handin.quarantine import TIMESTAMP
from autograder.pipeline.plan import checkpoint_names
from autograder.review.feedback.exporter import MOST_PAGE
from autograder.review.staff_report.page_names import STUDENTS, student_page

# Stands for it: swallows all that it is asked.
NO_MATHJAX = "MathJax = new Proxy(() => MathJax, { get: (_, name) => typeof name === 'symbol' ? undefined : MathJax });"
MATHJAX = "https://cdnjs.cloudflare.com/ajax/libs/mathjax/"  # the one thing that nbgrader's own page gets elsewhere
# The last is what Debian's list of media types takes a `.pt` for.
PASSIVE = {"application/octet-stream", "application/json", "application/x-ipynb+json", "text/plain"}
PASSIVE |= {"application/vnd.snesdev-page-table"}
# What browsers take for a page or a document whatever it is called (MIME Sniffing Standard, section 7.1).
SNIFFED = re.compile(
    rb"[\t\n\x0c\r ]*(?:<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\s>]"
    rb"|<!--|<\?xml|<svg|%PDF-|%!PS-Adobe-|FWS|CWS|ZWS|MIME-Version:)",
    re.IGNORECASE,
)
# Everything in the part of a page that shows the notebook with which a browser goes or looks somewhere.
LEADING = """(root) => [...document.querySelectorAll(root + ' *')].flatMap((e) =>
    ['href', 'xlink:href', 'src', 'srcset', 'action', 'formaction', 'ping', 'data', 'poster', 'background', 'cite']
        .filter((name) => e.hasAttribute(name))
        .map((name) => [e.localName, name, e.getAttribute(name), e.className])).concat(
    [...document.querySelectorAll(root + ' :is(script, iframe, object, embed, form, base, meta, link)')]
        .map((e) => [e.localName, '', '', e.className]))"""


class NoBrowser(RuntimeError):
    """There is no browser to look with; the message says what to install."""


def find_chromium() -> str:
    """Debian's Chromium, or what $CHROMIUM names. Raises NoBrowser."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found is None:
        raise NoBrowser("no chromium on this machine: apt-get install chromium, or set CHROMIUM")
    return found


@contextmanager
def open_browser() -> Iterator[Browser]:
    """One browser process. Root has no use for its sandbox: Chromium refuses to start with it."""
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def formgrader(root: Path) -> Iterator[str]:
    """The address of formgrader, served for a course by a real Jupyter server on the loopback interface. It asks nobody
    who they are: whatever runs in its pages may set marks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    extensions = {"nbgrader.server_extensions.formgrader": True}
    options = [f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--no-browser", "--allow-root"]
    options += ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
    options += [f"--ServerApp.jpserver_extensions={extensions}", f"--ServerApp.root_dir={root}"]
    address = f"http://127.0.0.1:{port}/formgrader"
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "jupyter_server", *options]
        server = subprocess.Popen(command, cwd=root, stdout=log, stderr=log)
        try:
            if not _answers(f"{address}/api/assignments", server):
                log.seek(0)
                raise RuntimeError(f"formgrader does not start: {log.read()[-2000:].decode(errors='replace')}")
            yield address
        finally:
            server.terminate()
            server.wait(30)


def _answers(address: str, server: subprocess.Popen[bytes]) -> bool:
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=30).close()
            return True
        except (urllib.error.URLError, ConnectionError):
            if server.poll() is not None:
                return False
            time.sleep(0.5)
    return False


@dataclass
class _Course:
    """A course with graded submissions, seen by a browser. `address` is formgrader's."""

    root: Path
    assignment: str
    browser: Browser
    address: str

    def folder(self, step: str, student: str) -> Path:
        return self.root / step / student / self.assignment

    @property
    def origin(self) -> str:
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.address))


# Without a browser


def problems_with_files(root: Path, assignment: str, student: str) -> list[str]:
    """Files of a submission that lie where they must not, pages that are too large, and pages that are missing."""
    source, names = root / "source" / assignment, checkpoint_names(load_course(root).assignment(assignment))
    graded, pages = root / "autograded" / student / assignment, root / "feedback" / student / assignment
    problems = []
    for path in _files(graded):
        name = path.relative_to(graded).as_posix()
        if not _belongs(path, name, source / name, names):
            problems.append(f"autograded/ holds {name!a}")
    wanted = {f"{path.stem}.html" for path in graded.glob("*.ipynb")}
    found = {path.relative_to(pages).as_posix(): path for path in _files(pages)}
    problems += [f"no page of feedback {name!a}" for name in sorted(wanted - set(found))]
    problems += [f"feedback/ holds {n!a}" for n in sorted(set(found) - wanted - {*FORMS, TIMESTAMP, SECRET})]
    problems += [f"{n!a} has {p.stat().st_size:,} bytes" for n, p in found.items() if p.stat().st_size > MOST_PAGE]
    return problems


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _belongs(path: Path, name: str, own: Path, weights: Sequence[str]) -> bool:
    if path.is_symlink():
        return False
    if name in weights:
        with open(path, "rb") as file:
            return is_checkpoint(name, file)
    is_own = own.is_file() and own.read_bytes() == path.read_bytes()
    return is_own or name in (TIMESTAMP, SECRET) or (path.suffix == ".ipynb" and "/" not in name)


# With one


def problems_with_pages(root: Path, assignment: str, students: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What a browser finds, by student; `students` says of which notebooks (none: of all). Raises NoBrowser."""
    before = _marks(root, assignment)
    found: dict[str, list[str]] = {}
    with open_browser() as browser, formgrader(root) as address:
        course = _Course(root, assignment, browser, address)
        for student, notebooks in students.items():
            found[student] = [*_in_formgrader(course, student, notebooks), *_on_disk(course, student, notebooks)]
            after = _marks(root, assignment)
            if after != before:
                found[student].append("a mark has changed")
                before = after
    return found


def _marks(root: Path, assignment: str) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        return {
            (submission.student.id, notebook.name, grade.name): (
                grade.auto_score, grade.manual_score, grade.extra_credit, grade.needs_manual_grade
            )
            for submission in gradebook.assignment_submissions(assignment)
            for notebook in submission.notebooks
            for grade in notebook.grades
        }  # fmt: skip


def _submissions(root: Path, assignment: str, student: str) -> dict[str, str]:
    """formgrader's numbers of a student's notebooks, by name."""
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        return {n.name: n.id for n in gradebook.find_submission(assignment, student).notebooks}


@dataclass
class _Watch:
    """Opens pages in a context of its own and writes down what they do that no page of ours may do."""

    page: Page
    problems: list[str] = field(default_factory=list)

    def on_dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def on_console(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.problems.append(f"the console: {said.text}")

    def open(self, address: str, allowed: Sequence[str]) -> None:
        """Go there. Requests may begin with one of `allowed` only."""

        def on_request(request: Request) -> None:
            if not request.url.startswith(("data:", "about:", *allowed)):
                self.problems.append(f"{_short(address)} asks for {request.url[:200]}")

        self.page.on("request", on_request)
        self.page.goto(address)
        self.page.wait_for_load_state("networkidle")
        self.page.remove_listener("request", on_request)


@contextmanager
def _watching(browser: Browser) -> Iterator[_Watch]:
    context = browser.new_context()

    def answer(route: Route) -> None:
        if route.request.url.startswith(MATHJAX):  # the network is not there; a script that fails would be a complaint
            route.fulfill(status=200, content_type="text/javascript", body=NO_MATHJAX)
        else:
            route.abort()

    context.route(lambda url: urlsplit(url).hostname not in ("127.0.0.1", None, ""), answer)
    watch = _Watch(context.new_page())
    watch.page.on("dialog", watch.on_dialog)
    watch.page.on("console", watch.on_console)
    watch.page.on("pageerror", lambda error: watch.problems.append(f"an exception: {error}"))
    watch.page.on("popup", lambda popup: watch.problems.append(f"a window: {popup.url}"))
    watch.page.on("download", lambda download: watch.problems.append(f"a download: {download.url}"))
    try:
        yield watch
    finally:
        context.close()


def _in_formgrader(course: _Course, student: str, notebooks: Sequence[str]) -> list[str]:
    numbers = _submissions(course.root, course.assignment, student)
    graded = course.folder("autograded", student)
    with _watching(course.browser) as watch:
        for name in sorted(path.stem for path in graded.glob("*.ipynb")):
            if notebooks and name not in notebooks:
                continue
            address = f"{course.address}/submissions/{numbers[name]}/"
            watch.open(address, [f"{course.address}/", MATHJAX])
            watch.problems += _led_astray(watch.page, "#notebook-container", address, course.origin)
            watch.problems += _hidden_fields(watch.page)
            watch.problems += [
                p for path in _files(graded) for p in _served(course, watch.page, address, student, path)
            ]
            watch.problems += _not_served(course, watch.page, address, student)
        return watch.problems


def _led_astray(page: Page, root: str, address: str, origin: str) -> list[str]:
    """Elements of a notebook's part of a page that lead to the page's own origin, to the disk, or nowhere good."""
    problems = []
    for tag, name, value, classes in page.evaluate(LEADING, root):
        told = f"{_short(address)}: <{tag} {name}={value[:120]!a}>"
        if not name:
            problems.append(f"{told} in a notebook")
        elif value.startswith("data:image/") and (tag, name) == ("img", "src"):
            continue
        elif (tag, name) == ("a", "href") and value.startswith("#") and classes == "anchor-link":
            continue  # of a heading of the course's own: students' have none
        elif (tag, name) != ("a", "href") or not is_public(value) or urljoin(address, value).startswith(origin):
            problems.append(told)
    return problems


def _hidden_fields(page: Page) -> list[str]:
    """formgrader finds its fields for marks and comments by their ids."""
    fields = "[...document.querySelectorAll('input[id], textarea[id]')]"
    hidden: list[str] = page.evaluate(f"{fields}.filter((e) => document.getElementById(e.id) !== e).map((e) => e.id)")
    return [f"the id of the field {name!a} stands before it, too" for name in hidden]


def _served(course: _Course, page: Page, address: str, student: str, path: Path) -> list[str]:
    """What is wrong with a file of the graded folder as formgrader serves it."""
    name = path.relative_to(course.folder("autograded", student)).as_posix()
    answer = page.request.get(address + quote(name))
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    own = course.root / "source" / course.assignment / name
    if not answer.ok or (own.is_file() and own.read_bytes() == answer.body()):
        return []
    problems = [f"formgrader serves {name!a} as {kind}"] if kind not in PASSIVE else []
    return problems + ([f"{name!a} looks like a page to browsers"] if SNIFFED.match(answer.body()[:1500]) else [])


def _not_served(course: _Course, page: Page, address: str, student: str) -> list[str]:
    """Files that were handed in and that formgrader serves, under their name or as a link of a student's could say."""
    submitted, graded = course.folder("submitted", student), course.folder("autograded", student)
    problems = []
    for path in _files(submitted)[:200]:
        name = path.relative_to(submitted).as_posix()
        if (graded / name).exists():
            continue  # judged as what it is there
        raw = os.fsencode(name)
        for written in dict.fromkeys((quote(raw), quote(raw, safe=""), unquote(quote(raw)))):
            if "?" in written or "#" in written or written.startswith(("/", "..")):
                continue
            if page.request.get(address + written).ok:
                problems.append(f"formgrader serves {written!a}")
    return problems


def _on_disk(course: _Course, student: str, notebooks: Sequence[str]) -> list[str]:
    """The pages of feedback, and the staff's page of the submission, as they open from disk."""
    folder = course.folder("feedback", student)
    with _watching(course.browser) as watch:
        for path in _files(folder):
            if path.suffix != ".html":
                if SNIFFED.match(path.read_bytes()[:1500]):
                    watch.problems.append(f"{path.name} looks like a page to browsers")
            elif not notebooks or path.stem in notebooks:
                watch.open(path.as_uri(), [path.as_uri()])
                watch.problems += _astray_on_disk(watch.page, path)
        report = course.root / "reports" / course.assignment / STUDENTS / student_page(student)
        if report.is_file():
            watch.open(report.as_uri(), [report.as_uri()])
        return watch.problems


def _astray_on_disk(page: Page, path: Path) -> list[str]:
    """Links of a page of feedback that lead neither into it, nor to another page beside it, nor to a public site."""
    problems = []
    for tag, name, value, _ in page.evaluate(LEADING, "body"):
        told = f"feedback of {path.stem}: <{tag} {name}={value[:120]!a}>"
        beside = (path.parent / unquote(value)).name == unquote(value) and (
            path.parent / unquote(value)
        ).suffix == ".html"
        is_own = (tag, name) == ("a", "href") and (value.startswith("#") or beside or is_public(value))
        if not name or not (is_own or ((tag, name) == ("img", "src") and value.startswith("data:image/"))):
            problems.append(told)
    return problems


def _short(address: str) -> str:
    return urlsplit(address).path[-60:]


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.argument("assignment")
@click.argument("students", nargs=-1)
def main(root: Path, assignment: str, students: Sequence[str]) -> None:
    """Look at what a course publishes of some students' submissions."""
    found = problems_with_pages(root.resolve(), assignment, dict.fromkeys(students, ()))
    for student, problems in found.items():
        own = problems_with_files(root, assignment, student)
        for problem in [*own, *problems]:
            click.echo(f"{student}: {problem}")
    raise SystemExit(any(found.values()))


if __name__ == "__main__":
    main()
