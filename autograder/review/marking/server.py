"""The local page for marking by hand: one process, one thread, the loopback interface only.

Tornado serves it: Jupyter and nbgrader bring it anyway, and in its one thread no decision comes between two steps of
another. Whoever wants something needs the token of this session, which is part of every address, must name this very
host and port, and must come from a page of ours; all else is refused.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler

from autograder.core.errors import AutograderError
from autograder.course.marking_record import RubricItem, open_record
from autograder.review.html import points_text
from autograder.review.marking import pages, views
from autograder.review.marking.decide import (
    Undone,
    Wanted,
    WrongForm,
    chosen_items,
    decide,
    read_points,
    score_of,
    undo,
)
from autograder.review.marking.desk import Desk
from autograder.review.marking.pages import PageFrame, place_of, render_page
from autograder.review.marking.questions import Question

HOST = "127.0.0.1"
MOST_BODY = 8 << 20  # bytes: a thousand answers and a comment
MOST_DECISIONS = 100
MOST_ITEM = 300  # characters of an item of a rubric
MOST_LINES = 1_000_000  # as a number of a decision or an item may be, in digits far fewer
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers would then send no origin with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_application(desk: Desk, token: str, origin: str) -> Application:
    """All addresses. `origin` is the only one that is served, as http://127.0.0.1:PORT."""
    told = {"desk": desk, "token": token, "origin": origin}
    question = r"/([^/]+)/question/([^/]+)/([^/]+)"
    return Application(
        [
            (r"/([^/]+)/", IndexPage, told),
            (r"/([^/]+)/names", NamesChoice, told),
            (question, QuestionPage, told),
            (rf"{question}/decisions", DecisionsPage, told),
            (rf"{question}/(mark|undo|item|start|drop)", QuestionActions, told),
        ],
        default_handler_class=UnknownAddress,
        default_handler_args=told,
        log_function=lambda _: None,  # addresses hold the token
    )


async def serve(desk: Desk, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until the task is cancelled; `on_ready` hears the address. Raises OSError where the port is taken."""
    listening = socket.create_server((HOST, port))  # Tornado's own function would leave it open where it fails
    listening.setblocking(False)
    origin = f"http://{HOST}:{listening.getsockname()[1]}"
    token = secrets.token_urlsafe(24)
    server = HTTPServer(make_application(desk, token, origin), max_body_size=MOST_BODY, max_buffer_size=2 * MOST_BODY)
    server.add_sockets([listening])
    on_ready(f"{origin}/{token}/")
    try:
        await asyncio.Event().wait()
    finally:
        server.stop()


class MarkingHandler(RequestHandler):
    """What all addresses share: who may ask, headers, and errors in words."""

    def initialize(self, desk: Desk, token: str, origin: str) -> None:
        self.desk, self.token, self.origin = desk, token, origin

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Security-Policy", pages.policy())

    def prepare(self) -> None:
        """Refuse whoever is not a page of this session. Everything is looked at before anything is done."""
        if self.request.headers.get_list("Host") != [self.origin.removeprefix("http://")]:
            raise HTTPError(403, reason="another host is named")
        given = self.path_args[0] if self.path_args else ""
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise HTTPError(403, reason="the token is missing")
        if self.request.method not in ("GET", "HEAD"):
            if self.request.headers.get_list("Origin") != [self.origin]:
                raise HTTPError(403, reason="another origin asks")
            if self.request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
                raise HTTPError(403, reason="another site asks")

    @property
    def root(self) -> str:
        return f"/{self.token}/"

    @property
    def hides_names(self) -> bool:
        chosen = self.get_cookie("names", "")
        return chosen == "hide" if chosen else self.desk.hides_names

    def frame(self, page: str = "", question: Question | None = None) -> PageFrame:
        """What stands around a page."""
        named, place = (question.cell, place_of(question)) if question is not None else ("", "")
        here = self.request.uri or self.root
        here = here if self.request.method == "GET" else f"{self.root}{place}"
        desk = self.desk
        return PageFrame(desk.assignment, desk.marker, self.root, here, self.hides_names, page, named, place)

    def question_of(self, notebook: str, cell: str) -> Question:
        """The question that an address names. Raises HTTPError."""
        question = self.desk.question(notebook, cell)
        if question is None:
            raise HTTPError(404, reason="there is no such question")
        return question

    def text_of(self, name: str) -> str:
        """A field of the form, with line breaks as everywhere else."""
        return self.get_body_argument(name, "", strip=True).replace("\r\n", "\n")

    def number_of(self, name: str) -> int:
        """A field that holds a number. Raises HTTPError."""
        return as_number(self.text_of(name))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A refusal in plain words; our own errors with their remedy, and nothing of the machine otherwise."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if status_code == 403 or not isinstance(error, AutograderError):
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            more = "" if status_code != 403 else " Open the address that `autograder mark` printed."
            self.finish(f"{status_code}: {self._reason}.{more}\n")
            return
        heading = "That cannot be decided" if isinstance(error, WrongForm) else "Not done"
        self.set_status(422 if isinstance(error, WrongForm) else 503)
        self.finish(render_page("problem.html", self.frame(), heading=heading, message=str(error)))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Only what nobody expects is told at the terminal."""
        if not isinstance(value, HTTPError | AutograderError):
            traceback.print_exception(typ, value, tb, file=sys.stderr)


class UnknownAddress(MarkingHandler):
    """Whatever lies elsewhere."""

    def prepare(self) -> None:
        raise HTTPError(403, reason="there is nothing at this address")


class IndexPage(MarkingHandler):
    """All questions."""

    def get(self, _token: str) -> None:
        questions = self.desk.questions()
        counts = [len(question.answers) for question in questions]
        self.finish(render_page("index.html", self.frame("index"), questions=questions, counts=counts))


class NamesChoice(MarkingHandler):
    """Show names, or hide them: for this browser."""

    def post(self, _token: str) -> None:
        chosen = "hide" if self.text_of("hide") == "1" else "show"
        self.set_cookie("names", chosen, path=self.root, httponly=True, samesite="Strict")
        back = self.text_of("back")
        self.redirect(back if back.startswith(self.root) else self.root, status=303)


class QuestionPage(MarkingHandler):
    """One question: the answer that is named, or the next one that waits."""

    def get(self, _token: str, notebook: str, cell: str) -> None:
        question = self.question_of(notebook, cell)
        arranged = views.arrange(question)
        asked = self.get_query_argument("answer", "")
        if arranged.find(asked) is None:
            following = arranged.next_open(self.get_query_argument("next", ""))
            asked = following.grade if following is not None else question.answers[0].grade
        with open_record(self.desk.root, self.desk.assignment) as record:
            view = views.question_view(self.desk, record, question, arranged, asked)
            done = record.decision(as_number(self.get_query_argument("done", "0")))
        view["done"] = done if done is not None and done.answers and done.question == question.name else None
        view["names"] = views.names_of(question, hidden=self.hides_names)
        view["message"], view["is_problem"] = self._said()
        view["next_question"] = self._next_question(question)
        self.finish(render_page("question.html", self.frame("question", question), view=view))

    def _said(self) -> tuple[str, bool]:
        """What an action has to say, by its code: nobody else's words get into the page."""
        undone = self.get_query_argument("undone", "")
        if undone:
            count, _, left = undone.partition("-")
            return undone_words(Undone(as_number(count), as_number(left))), left != "0"
        taken = "Somebody has changed this item meanwhile: here is how it stands now."
        return (taken, True) if self.get_query_argument("taken", "") else ("", False)

    def _next_question(self, question: Question) -> Question | None:
        if question.open_count:
            return None
        return next((q for q in self.desk.questions() if q.open_count), None)


class DecisionsPage(MarkingHandler):
    """What was decided about a question, and by whom."""

    def get(self, _token: str, notebook: str, cell: str) -> None:
        question = self.question_of(notebook, cell)
        with open_record(self.desk.root, self.desk.assignment) as record:
            found = record.decisions(question.name, MOST_DECISIONS)
        names = views.names_of(question, hidden=self.hides_names)
        undone = self.get_query_argument("undone", "")
        count, _, left = undone.partition("-")
        message = undone_words(Undone(as_number(count), as_number(left))) if undone else ""
        frame = self.frame("decisions", question)
        told = {"decisions": found, "names": names, "message": message, "maximum": question.maximum}
        self.finish(render_page("decisions.html", frame, **told))


class QuestionActions(MarkingHandler):
    """What forms ask for. Each answers with a page, so that nothing is sent twice by going back."""

    def post(self, _token: str, notebook: str, cell: str, action: str) -> None:
        question = self.question_of(notebook, cell)
        getattr(self, f"do_{action}")(question)

    def _go(self, question: Question, query: str) -> None:
        self.redirect(f"{self.root}{place_of(question)}?{query}", status=303)

    def _back(self, question: Question, more: str = "") -> None:
        self._go(question, f"answer={quote(self.text_of('back'), safe='')}{more}")

    def do_mark(self, question: Question) -> None:
        """Mark one answer or many; the next one follows, or what somebody else has done meanwhile."""
        shown = self.text_of("shown")
        seen = chosen_answers(self.get_body_arguments("answer"), self.text_of("scope"), self.text_of("again") == "1")
        items = [as_number(item) for item in self.get_body_arguments("item")]
        wanted = Wanted(seen, items, read_points(self.text_of("points")), self.text_of("words"))
        with open_record(self.desk.root, self.desk.assignment) as record:
            result = decide(self.desk, record, question, wanted)
            rubric = record.rubric(question.name)
        if not result.conflicts:
            self._go(question, f"next={quote(shown, safe='')}&done={result.number}")
            return
        given = score_of(question, rubric, chosen_items(rubric, wanted.items), wanted.points)
        form = {"points": self.text_of("points"), "words": wanted.words, "chosen": items}
        names = views.names_of(question, hidden=self.hides_names)
        told = {"result": result, "form": form, "names": names, "back": shown, "given": points_text(given)}
        self.finish(render_page("conflicts.html", self.frame("question", question), **told))

    def do_undo(self, question: Question) -> None:
        """Undo a decision."""
        with open_record(self.desk.root, self.desk.assignment) as record:
            decision = record.decision(self.number_of("decision"))
            if decision is None or decision.question != question.name:
                raise WrongForm("there is no such decision about this question")
            undone = undo(self.desk, record, question, decision)
        told = f"undone={undone.count}-{undone.left}"
        if self.text_of("page") == "decisions":
            self.redirect(f"{self.root}{place_of(question)}/decisions?{told}", status=303)
            return
        first = decision.answers[0].grade if decision.answers else ""
        self._go(question, f"answer={quote(first, safe='')}&{told}")

    def do_item(self, question: Question) -> None:
        """Add, change or remove an item of the rubric."""
        points, text = read_points(self.text_of("points")), " ".join(self.text_of("text").split())
        if points is None or not text or len(text) > MOST_ITEM:
            raise WrongForm(f"an item needs points and a text of at most {MOST_ITEM} characters")
        done = True
        with open_record(self.desk.root, self.desk.assignment) as record:
            if not self.text_of("id"):
                record.add_item(question.name, points, text)
            else:
                before = read_points(self.text_of("seen_points")) or 0.0
                seen = RubricItem(self.number_of("id"), before, self.text_of("seen_text"))
                if self.text_of("remove"):
                    done = record.remove_item(question.name, seen)
                else:
                    done = record.change_item(question.name, seen, points, text)
        self._back(question, "" if done else "&taken=1")

    def do_start(self, question: Question) -> None:
        """Whether points start at the maximum."""
        with open_record(self.desk.root, self.desk.assignment) as record:
            record.start_at(question.name, full=self.text_of("full") == "1")
        self._back(question)

    def do_drop(self, question: Question) -> None:
        """Offer a comment no more."""
        with open_record(self.desk.root, self.desk.assignment) as record:
            record.drop_comment(question.name, self.text_of("text"))
        self._back(question)


def as_number(text: str) -> int:
    """A number in an address or a form. Raises HTTPError."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_LINES)) + 5):
        raise HTTPError(400, reason="a number is none")
    return int(text)


def chosen_answers(told: list[str], scope: str, again: bool) -> dict[str, str]:
    """Versions by grade, of the answers that a decision holds for. Raises WrongForm.

    Each comes as `kind:state:grade:version`, so that the decision is about what the person saw.
    """
    wider = {views.ONE: {views.ONE}, views.SAME: {views.ONE, views.SAME}}
    kinds = wider.get(scope, {views.ONE, views.SAME, views.ALIKE})
    found = {}
    for text in told:
        kind, state, grade, version = [*unquote(text).split(":"), "", "", ""][:4]
        if kind in kinds and (state == "open" or again or scope == views.ONE):
            found[grade] = version
    if not found:
        raise WrongForm("this holds for no answer: all of them are marked, or none is ticked")
    return found


def undone_words(undone: Undone) -> str:
    """What became of undoing."""
    words = f"Undone for {undone.count} answer{'s' * (undone.count != 1)}."
    if undone.left:
        words += f" {undone.left} stay as they are: somebody has changed them since."
    return words
