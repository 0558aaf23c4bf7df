"""The record stream under attack: bounded in bytes, records, values, depth and time, and the blame is the student's."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from autograder.core.config import Assignment, Exercise, Limits
from autograder.core.grade_report import Status
from autograder.core.probes import AnswerProbe
from autograder.core.strict_json import MOST_DEPTH, BadJson, count_values, parse_json
from autograder.graphs.tensor_file import BadTensors, load_arrays, read_header
from autograder.handin.submission import Submission
from autograder.jail import Frame, StreamProblem, decode_frames, encode_frames, find_isolation
from autograder.jail.stream import HEADER_BYTES, MOST_VALUES, FrameParser
from autograder.judging.problems import Problem
from autograder.pipeline.cache import Cache
from autograder.pipeline.jail_run import IMPORT_SECONDS, notebook_run, run_plan
from autograder.pipeline.plan import Plan, make_plan
from tests.fuzzing import reader_of

MIB = 1 << 20
ENDED = Problem(Status.CRASHED, "the process ended early")


def read(
    chunks: Iterable[bytes], most_bytes: int = 64 * MIB, most_records: int = 1000, seconds: float = 30
) -> list[Frame]:
    """All frames of a stream. Raises StreamProblem."""
    frames = []
    with reader_of(chunks, most_bytes, most_records) as reader:
        deadline = time.monotonic() + seconds
        while (frame := reader.next(deadline)) is not None:
            frames.append(frame)
    return frames


def repeated(line: bytes, count: int) -> Iterator[bytes]:
    block = line * 1000
    yield from (block for _ in range(count // 1000))


def test_frames_arrive_as_they_were_sent_in_whatever_pieces() -> None:
    sent = [Frame({"kind": "answer", "value": [1, {"a": "é\ud800"}]}, b"\n\x00{"), Frame({}, b"")]
    content = encode_frames(sent)
    assert read([content]) == sent
    assert read(content[i : i + 1] for i in range(len(content))) == sent
    assert decode_frames(content) == sent


FLOODS: dict[str, tuple[bytes, Status, str]] = {
    "records": (b'{"notebook":"x"}\n', Status.OUTPUT_LIMIT, "more than 1,000 records"),
    "bytes": (b'{"notebook":"x","payload_bytes":100000}\n' + b"x" * 100_000, Status.OUTPUT_LIMIT, "64 MiB of results"),
    "one line": (b"x" * 10_000, Status.OUTPUT_LIMIT, "longer than 16 MiB"),
    "empty lines": (b"\n", Status.CRASHED, "unreadable"),
    "zeros": (b"\x00" * 10, Status.OUTPUT_LIMIT, "longer than 16 MiB"),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_at_its_limit(name: str) -> None:
    line, status, words = FLOODS[name]
    with pytest.raises(StreamProblem, match=words) as caught:
        read(repeated(line, 10_000_000))
    assert caught.value.status is status


def wanted(header: Mapping[str, Any]) -> int | None:
    """A kilobyte for answers, nothing for others."""
    return 1000 if header.get("kind") == "answer" else None


def test_what_nobody_asked_for_is_passed_over_in_whatever_pieces() -> None:
    asked = Frame({"kind": "answer", "value": 1}, b"x" * 1000)
    content = encode_frames([Frame({"kind": "other"}, bytes(5000)), asked, Frame({}, b"\n{}\n"), Frame({}, b""), asked])
    for size in (1, 7, 1500, len(content)):
        parser = FrameParser(MIB, room=wanted)
        found = [f for i in range(0, len(content), size) for f in parser.feed(content[i : i + size])]
        parser.finish()
        assert found == [asked, asked]


def test_what_nobody_asked_for_is_not_held() -> None:
    parser = FrameParser(256 * MIB, room=wanted)
    tracemalloc.start()
    try:
        list(parser.feed(b'{"kind":"other","payload_bytes":%d}\n' % (200 * MIB)))
        for _ in range(200):
            assert not list(parser.feed(bytes(MIB)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    parser.finish()
    assert peak < 8 * MIB


def test_a_payload_beyond_its_room_is_a_problem_of_its_own_record() -> None:
    parser = FrameParser(MIB, room=wanted)
    content = encode_frames([Frame({"kind": "answer", "name": "a"}, bytes(1001)), Frame({"kind": "answer"}, b"")])
    large, small = parser.feed(content)
    assert large.payload == b""
    assert large.header["problem"]["status"] == "OUTPUT_LIMIT"
    assert small == Frame({"kind": "answer"}, b"")


def test_frames_before_the_trouble_count() -> None:
    with reader_of([b'{"kind":"a"}\n{"kind":"b"}\nnonsense\n{"kind":"c"}\n'], MIB, 1000) as reader:
        found = [reader.next(time.monotonic() + 30) for _ in range(2)]
        with pytest.raises(StreamProblem, match="unreadable"):
            reader.next(time.monotonic() + 30)
    assert found == [Frame({"kind": "a"}, b""), Frame({"kind": "b"}, b"")]


EXPLOSIONS = {
    "lists": b"[" + b"[]," * 5_000_000 + b"[]]",
    "objects": b"[" + b'{"a":0},' * 1_500_000 + b"0]",
    "numbers": b"[" + b"7," * 7_000_000 + b"7]",
    "texts": b"[" + b'"",' * 5_000_000 + b'""]',
    "openings": b"[" * 15_000_000,
}


@pytest.mark.parametrize("name", EXPLOSIONS)
def test_a_record_of_brackets_does_not_become_gigabytes(name: str) -> None:
    line = b'{"kind":"answer","value":' + EXPLOSIONS[name] + b"}\n"
    assert len(line) < HEADER_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(StreamProblem, match="more values") as caught:
            read([line])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.status is Status.OUTPUT_LIMIT
    assert peak < 8 * len(line)


def test_values_are_counted_over_the_whole_stream() -> None:
    line = b'{"value":[' + b"7," * (MOST_VALUES - 10) + b"7]}\n"
    with pytest.raises(StreamProblem, match="more values"):
        read([line] * 3)


MALFORMED = {
    "a key twice": b'{"kind":"answer","kind":"call"}',
    "a key twice, escaped": b'{"kind":"answer","\\u006bind":"call"}',
    "NaN": b'{"value":NaN}',
    "Infinity": b'{"value":-Infinity}',
    "a number that overflows": b'{"value":1e999}',
    "an integer without end": b'{"value":' + b"9" * 5000 + b"}",
    "nesting": b'{"value":' + b"[" * 500 + b"]" * 500 + b"}",
    "nesting of objects": b'{"value":' + b'{"a":' * 500 + b"0" + b"}" * 500 + b"}",
    "UTF-16": json.dumps({"value": 1}).encode("utf-16"),
    "no ASCII": '{"value":"é"}'.encode(),
    "no object": b"[1]",
    "nothing": b"",
    "Python": b"{'value': 1}",
    "payload of a negative size": b'{"payload_bytes":-1}',
    "payload of a fractional size": b'{"payload_bytes":1.0}',
    "payload of a size that is true": b'{"payload_bytes":true}',
    "payload of terabytes": b'{"payload_bytes":99999999999999}',
    "payload of no size": b'{"payload_bytes":null}',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_record_ends_the_stream_as_the_students_crash(name: str) -> None:
    with pytest.raises(StreamProblem, match="unreadable") as caught:
        read([b'{"kind":"ready"}\n', MALFORMED[name] + b"\n", b'{"kind":"done"}\n'])
    assert caught.value.status is Status.CRASHED


@pytest.mark.parametrize("content", [b'{"kind"', b'{"payload_bytes":10}\nabc', b"\x00"])
def test_a_stream_that_breaks_off_is_a_crash(content: bytes) -> None:
    with pytest.raises(StreamProblem, match="in the middle of a record") as caught:
        read([content])
    assert caught.value.status is Status.CRASHED


def dripping() -> Iterator[bytes]:
    for _ in range(200):
        time.sleep(0.02)
        yield b" "


def test_dripping_and_silence_end_at_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(StreamProblem, match="time for the whole run") as caught:
        read(dripping(), seconds=0.5)
    assert caught.value.status is Status.TIMEOUT
    assert time.monotonic() - began < 10


# JSON


@pytest.mark.parametrize("text", [b'["\\\\","["]', b'["\\"[[["]', b'{"a":"]}"}', b"[]", b'"', b'"\\', b"1"])
def test_brackets_in_texts_count_for_nothing(text: bytes) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(BadJson):
            parse_json(text)
    else:
        assert parse_json(text) == expected
        assert count_values(text) <= 3


def test_nesting_ends_where_it_says() -> None:
    assert parse_json(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH)
    with pytest.raises(BadJson, match="nested more than 24 deep"):
        parse_json(b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1))


# What is made of the frames


def cell_record(**changes: Any) -> Frame:
    return Frame({"kind": "cell", "index": 3, "status": "PASSED", "seconds": 1.0, "outputs": [], **changes}, b"")


NOTEBOOK = {"name": "01", "cells": [{"index": 3, "source": ""}, {"index": 5, "source": ""}]}
WRONG: list[Any] = [None, True, -1, 2**70, 1e300, "x" * 5000, "\ud800\x1b[2J", [[]] * 5, {"a": {}}, [{"status": []}]]


@pytest.mark.parametrize("name", ["kind", "index", "status", "seconds", "outputs", "message", "run", "notebook"])
def test_a_field_of_any_type_is_a_status_of_the_students(name: str) -> None:
    for value in WRONG:
        frames = [cell_record(**{name: value}), Frame({"kind": "ended", "status": "PASSED", name: value}, b"")]
        run = notebook_run(NOTEBOOK, frames, ENDED, Limits())
        assert run.status in (Status.PASSED, Status.CRASHED)
        assert {cell.status for cell in run.cells} <= {Status.PASSED, Status.CRASHED}
        assert {cell.index for cell in run.cells} <= {3}
        assert 0 <= run.seconds < 1e6
        json.dumps([cell.outputs for cell in run.cells], allow_nan=False).encode()


def test_cells_that_no_one_planned_do_not_swell_the_report() -> None:
    frames = [cell_record(index=index) for index in range(20_000)]
    assert [cell.index for cell in notebook_run(NOTEBOOK, frames, ENDED, Limits()).cells] == [3, 5]


@pytest.mark.parametrize("status", ["INTERNAL", "UNSUPPORTED", "SKIPPED", "FAILED"])
def test_a_notebook_cannot_say_that_the_grader_failed(status: str) -> None:
    run = notebook_run(NOTEBOOK, [Frame({"kind": "ended", "status": status}, b"")], ENDED, Limits())
    assert run.status is Status.CRASHED


# From inside a real jail

FORGE = """
import os, signal, time
records = int(os.environ["AUTOGRADER_RECORDS_FD"])
if os.fork() == 0:
    os.setsid()
    {}
    while True:
        os.write(records, {!r})
        time.sleep({})
time.sleep(60)
"""
ATTACKS = {
    # The launcher is stopped, so that nobody inside counts the time; and time begins anew after the import.
    "more time": (
        FORGE.format("os.kill(os.getppid(), signal.SIGSTOP)", b'{"kind":"imported"}\n', 0.1), Status.TIMEOUT, []
    ),
    # Its stream is closed, which ends its process; the notebook is run once more without the cell.
    "a flood": (FORGE.format("pass", b'{"notebook":"01"}\n' * 100, 0), Status.PASSED, [Status.CRASHED]),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_a_notebook_that_writes_records_itself_gains_nothing(tmp_path: Path, name: str) -> None:
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}; {isolation.remedy}")
    code, status, cells = ATTACKS[name]
    limits = Limits(cell_seconds=4, notebook_seconds=8, submission_seconds=8, records=2500)
    planned = {
        "name": "01", "cells": [{"index": 0, "source": code}], "probes": [], "cell_seconds": 4, "notebook_seconds": 8,
        "probe_seconds": 4, "output_bytes": 1000, "outputs": 10,
    }  # fmt: skip
    files = tmp_path / "files"
    files.mkdir()
    for place in (tmp_path, files):
        place.chmod(0o755)
    began = time.monotonic()
    run = run_plan(Plan([planned], {"01": []}, {"01": "key"}), files, limits, isolation, Cache(tmp_path / "cache"))
    assert run.notebooks["01"].status is status
    assert [cell.status for cell in run.notebooks["01"].cells] == cells
    assert time.monotonic() - began < IMPORT_SECONDS + 60


# What is kept of a run


def plan_of(second: str) -> Plan:
    """The plan of a submission of two notebooks, of which the second has the given code."""
    exercises = [Exercise(name, {"tests": 1}, "test.py", answers=[AnswerProbe("x")]) for name in ("01", "02")]
    notebooks = {
        name: {"cells": [{"cell_type": "code", "source": source, "metadata": {}}]}
        for name, source in (("01", "x = 1"), ("02", second))
    }
    submission = Submission("ada", notebooks, jail_digest="files")
    return make_plan(Assignment(exercises, needs_test_set=False), submission, Limits(), b"secret", "course")


def test_what_is_kept_of_a_notebook_is_kept_with_all_that_ran_beside_it() -> None:
    """A notebook can write records in another one's name, and a second student may hand that other one in, too."""
    honest, forging = plan_of("x = 2"), plan_of("import os; os.write(3, b'forged')")
    assert honest.keys == plan_of("x = 2").keys
    assert not set(honest.keys.values()) & set(forging.keys.values())
    assert len({*honest.keys.values(), honest.checkpoint_key}) == 3


# Tensors


def tensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(shape: object, start: object = 0, end: object = 4, dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


LYING_TENSORS: dict[str, bytes] = {
    "nothing": b"",
    "a header longer than the file": (1 << 62).to_bytes(8, "little") + b"{}",
    "a pickle": b"\x80\x04cos\nsystem\n",
    "no object": tensors([]),
    "no JSON": tensors(b"{" * 100),
    "a key twice": tensors(b'{"t":' + json.dumps(tensor([1])).encode() + b',"t":{}}', b"1234"),
    "a tensor beyond the end": tensors({"t": tensor([2], 0, 8)}, b"1234"),
    "bytes after the tensors": tensors({"t": tensor([1])}, b"12345678"),
    "a gap": tensors({"t": tensor([1], 4, 8)}, b"12345678"),
    "an overlap": tensors({"t": tensor([2], 0, 8), "u": tensor([1], 4, 8)}, b"12345678"),
    "backwards": tensors({"t": tensor([1], 4, 0)}, b"1234"),
    "another shape": tensors({"t": tensor([2])}, b"1234"),
    "a shape that overflows": tensors({"t": tensor([2**32, 2**32], 0, 0)}),
    "emptiness of terabytes": tensors({"t": tensor([0, 2**30, 2**30], 0, 0)}),
    "a negative size": tensors({"t": tensor([-1, -1])}, b"1234"),
    "a size that is true": tensors({"t": tensor([True])}, b"1234"),
    "a size that is a float": tensors({"t": tensor([1.0])}, b"1234"),
    "a hundred dimensions": tensors({"t": tensor([1] * 100)}, b"1234"),
    "a dtype that is a list": tensors({"t": tensor([1], dtype=[])}, b"1234"),
    "a dtype that is unknown": tensors({"t": tensor([1], dtype="F8_E4M3")}, b"1234"),
    "offsets that are text": tensors({"t": tensor([1], "0", "4")}, b"1234"),
    "an entry that is text": tensors({"t": "F32"}),
    "an unknown key": tensors({"t": {**tensor([1]), "pickle": "gASV"}}, b"1234"),
    "metadata that are no text": tensors({"__metadata__": {"a": {}}}),
    "a million tensors": tensors({f"t{i}": tensor([0], 0, 0) for i in range(20_000)}),
    "a header of brackets": tensors(b'{"t":[' + b"[]," * 2_000_000 + b"[]]}"),
}


@pytest.mark.parametrize("name", LYING_TENSORS)
def test_tensors_that_are_not_what_they_say_are_refused(name: str) -> None:
    with pytest.raises(BadTensors):
        read_header(LYING_TENSORS[name])


def test_tensors_are_those_that_the_library_writes() -> None:
    written = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.zeros((0, 4), np.int64),
        "c": np.array(2.5),
        "d": np.array([True, False]),
        "é": np.arange(3, dtype=np.uint8),
    }
    found = load_arrays(save(written, metadata={"data": "CIFAR-10"}))
    assert set(found) == set(written)
    for name, array in written.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
