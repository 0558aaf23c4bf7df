"""Records are hostile: whatever the jail sends, the trusted side ends with a value, a problem, and no trace."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from autograder.core.grade_report import Status
from autograder.core.text import clean_text
from autograder.graphs.model_graph import ModelGraph
from autograder.jail import Frame
from autograder.judging.evidence import Evidence, Value, decode_evidence, decode_value
from autograder.judging.problems import Problem, decode_problem
from autograder.pipeline.outputs import clean_outputs

ENDED = Problem(Status.CRASHED, "the process ended early")
ANSWER = {"kind": "answer", "name": "size", "step": "answer-size"}
CALL = {"kind": "call", "name": "f", "group": "plain", "arguments": [{"n": 3}, {"n": 4}], "step": "call"}
BUILD = {
    "kind": "build",
    "name": "Net",
    "index": 0,
    "arguments": {},
    "channels": 3,
    "exports": [{"training": False, "size": 32}],
    "step": "build",
}
SAMPLE = {
    "kind": "sample",
    "name": "t",
    "group": "natural",
    "draws": 2,
    "pixels": base64.b64encode(bytes(4 * 4 * 3)).decode(),
    "shape": [4, 4, 3],
    "step": "sample",
}


def decode(probe: dict[str, Any], *records: dict[str, Any], payload: bytes = b"") -> Evidence:
    return decode_evidence([probe], [Frame(record, payload) for record in records], ENDED)


def answer(value: object, run: int = 1) -> dict[str, Any]:
    return {"kind": "answer", "name": "size", "run": run, "value": value}


def test_a_plain_value_arrives_with_kind_and_origin() -> None:
    found = decode(ANSWER, answer({"kind": "int", "value": 32, "origin": "torch"}))
    assert found.answers["size"] == Value("int", 32, "torch")


def test_a_missing_record_is_the_end_of_the_run() -> None:
    assert decode(ANSWER).answers["size"] == ENDED
    assert decode(CALL).calls["f"]["plain"][1].result == ENDED
    assert decode(BUILD).modules["Net"][0].problem == ENDED
    assert decode(SAMPLE).samples["t"]["natural"].problem == ENDED


def test_why_a_record_is_missing_is_told_of_drawn_arguments_too() -> None:
    """It may be that the notebook was not handed in; the student's code has no part in the words."""
    assert decode({**CALL, "drawn": True}).calls["f"]["plain"][1].result == ENDED
    build = decode({**BUILD, "drawn": True}).modules["Net"][0]
    assert (build.problem, build.drawn) == (ENDED, True)


def test_arguments_come_from_the_plan_and_not_from_the_record() -> None:
    value = {"kind": "int", "value": 9}
    record = {"kind": "call", "name": "f", "group": "plain", "run": 1, "results": [{"value": value}, {"value": value}]}
    forged = {**record, "arguments": [{"n": 0}, {"n": 0}]}
    assert [call.arguments for call in decode(CALL, forged).calls["f"]["plain"]] == [{"n": 3}, {"n": 4}]


@pytest.mark.parametrize("results", [None, [], [1, 2], [{"value": {"kind": "int", "value": 9}}], "12", {"0": 1}])
def test_results_of_the_wrong_number_or_form_are_no_results(results: object) -> None:
    record = {"kind": "call", "name": "f", "group": "plain", "run": 1, "results": results}
    calls = decode(CALL, record).calls["f"]["plain"]
    assert all(isinstance(call.result, Problem) and call.result.status is Status.FAILED for call in calls)


@pytest.mark.parametrize(
    "value",
    [
        None,
        32,
        {"kind": "int", "value": "32"},
        {"kind": "int", "value": True},
        {"kind": "int", "value": 2**70},
        {"kind": "int", "value": [32]},
        {"kind": "float", "value": 1.5},
        {"kind": "float", "value": "__import__('os')"},
        {"kind": "float", "value": "9" * 100},
        {"kind": "pickle", "value": "gASV"},
        {"kind": ["int"], "value": 32},
    ],
)
def test_a_malformed_value_is_a_problem(value: object) -> None:
    found = decode(ANSWER, answer(value)).answers["size"]
    assert isinstance(found, Problem)
    assert found.status is Status.FAILED


def test_the_last_run_counts_and_within_it_the_first_record() -> None:
    records = [answer({"kind": "int", "value": value}, run) for value, run in ((1, 1), (2, 2), (3, 2), (4, 1))]
    assert decode(ANSWER, *records).answers["size"] == Value("int", 2)


@pytest.mark.parametrize("status", ["INTERNAL", "PASSED", "SKIPPED", "", 7, None, {"a": 1}])
def test_the_jail_cannot_blame_the_grader_or_pass_itself(status: object) -> None:
    assert decode_problem({"status": status, "message": "x"}).status is Status.ERROR


def test_a_problem_names_cell_and_line() -> None:
    found = decode_problem({"status": "ERROR", "type": "ValueError", "message": "no", "line": 3 * 100_000 + 14})
    assert (found.cell, found.line) == (3, 14)


def test_messages_lose_control_characters_and_length() -> None:
    assert clean_text("\x1b[2Jred\udcff") == "\N{REPLACEMENT CHARACTER}[2Jred?"
    assert len(clean_text("x" * 100_000)) == 2000
    assert clean_text(["not", "text"]) == ""


def test_tensors_that_are_no_safetensors_are_a_problem() -> None:
    outputs = [{"type": "tensor", "dtype": "float32", "shape": [3, 4, 4]}] * 2
    record = {"kind": "sample", "name": "t", "group": "natural", "run": 1, "outputs": outputs}
    for payload in (b"", b"\x80\x04cos\nsystem\n", (1 << 62).to_bytes(8, "little") + b"{}"):
        found = decode(SAMPLE, record, payload=payload).samples["t"]["natural"]
        assert found.problem is not None


def test_a_sample_whose_values_do_not_have_its_shape_is_a_problem() -> None:
    outputs = [{"type": "tensor", "dtype": "float32", "shape": [3, 32, 32]}] * 2
    record = {"kind": "sample", "name": "t", "group": "natural", "run": 1, "outputs": outputs}
    payload = save({"s0": np.zeros((3, 4, 4), np.float32), "s1": np.zeros((3, 32, 32), np.float32)})
    assert decode(SAMPLE, record, payload=payload).samples["t"]["natural"].problem is not None


def forged_graph(**changes: object) -> dict[str, Any]:
    """A graph that is right but for the changes: relu(input)."""
    graph: dict[str, Any] = {
        "version": 1,
        "training": False,
        "batch": "dynamic",
        "input_shape": [4, 3, 32, 32],
        "tensors": [],
        "regions": [],
        "nodes": [["input"], ["call", "aten.relu.default", [{"node": 0}], 0, 0], ["output", {"node": 1}]],
    }
    return {**graph, **changes}


def test_the_graph_that_the_forgeries_start_from_is_accepted() -> None:
    record = {"kind": "build", "name": "Net", "index": 0, "run": 1, "graphs": [{"graph": forged_graph()}]}
    assert isinstance(decode(BUILD, record).modules["Net"][0].graphs[(False, 32)], ModelGraph)


def code_that_leaves_a_trace(trace: Path) -> str:
    return f"__import__('pathlib').Path({str(trace)!r}).touch()"


@pytest.mark.parametrize("place", ["operation", "tensor name", "keyword", "argument", "node kind", "tensor kind"])
def test_nothing_from_the_wire_is_evaluated(tmp_path: Path, place: str) -> None:
    trace = tmp_path / "trace"
    code = code_that_leaves_a_trace(trace)
    forged = {
        "operation": forged_graph(nodes=[["input"], ["call", code, [{"node": 0}], 0, 0], ["output", {"node": 1}]]),
        "tensor name": forged_graph(tensors=[["parameter", code, "float32", [1], "t0"]]),
        "keyword": forged_graph(**{code: 1}),
        "argument": forged_graph(
            nodes=[["input"], ["call", "aten.relu.default", [code], 0, 0], ["output", {"node": 1}]]
        ),
        "node kind": forged_graph(nodes=[["input"], [code, 0], ["output", {"node": 0}]]),
        "tensor kind": forged_graph(tensors=[[code, "weight", "float32", [1], "t0"]]),
    }[place]
    record = {"kind": "build", "name": "Net", "index": 0, "run": 1, "graphs": [{"graph": forged}]}
    found = decode(BUILD, record).modules["Net"][0]
    assert not trace.exists()
    if place != "tensor name":  # a name is data, whatever it says
        graph = found.problem or found.graphs[(False, 32)]
        assert isinstance(graph, Problem), graph


@pytest.mark.parametrize(
    "operation",
    ["aten.from_file.default", "aten.set_.source_Tensor", "aten.as_strided.default", "aten.empty.memory_format",
     "aten.resize_.default", "aten.rand.default", "prim.device.default", "torchvision.nms.default", "os.system"],
)  # fmt: skip
def test_operations_outside_the_list_are_refused_by_name(operation: str) -> None:
    nodes = [["input"], ["call", operation, [{"node": 0}], 0, 0], ["output", {"node": 1}]]
    record = {"kind": "build", "name": "Net", "index": 0, "run": 1, "graphs": [{"graph": forged_graph(nodes=nodes)}]}
    graph = decode(BUILD, record).modules["Net"][0].graphs[(False, 32)]
    assert isinstance(graph, Problem)
    assert graph.status in (Status.FAILED, Status.UNSUPPORTED)


def test_a_training_graph_in_place_of_the_evaluation_graph_is_refused() -> None:
    record = {"kind": "build", "name": "Net", "index": 0, "run": 1, "graphs": [{"graph": forged_graph(training=True)}]}
    found = decode(BUILD, record).modules["Net"][0]
    assert found.problem is not None
    assert "other mode" in found.problem.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(record=st.dictionaries(st.sampled_from(["value", "problem", "results", "graphs", "outputs"]), json_values))
def test_any_record_ends_in_evidence(record: dict[str, Any]) -> None:
    for probe in (ANSWER, CALL, BUILD, SAMPLE):
        named = {key: probe[key] for key in ("kind", "name", "group", "index") if key in probe}
        decode(probe, {**record, **named}, payload=b"\x00")


@settings(max_examples=150, deadline=None)
@given(outputs=json_values, size=st.integers(0, 1000))
def test_any_outputs_become_writable_ones_within_their_size(outputs: Any, size: int) -> None:
    cleaned = clean_outputs(outputs, size, 3)
    json.dumps(cleaned, ensure_ascii=False, allow_nan=False).encode()
    assert len(json.dumps(cleaned)) < 20 * size + 1000
    decode_value_or_problem(outputs)


def decode_value_or_problem(record: object) -> None:
    from autograder.judging.problems import BadRecord

    for function in (decode_value, decode_problem):
        try:
            function(record)
        except BadRecord:
            continue


def png(width: int, height: int) -> str:
    """The beginning of a picture, which is all that a browser needs to reserve its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return base64.b64encode(content).decode()


def jpeg(width: int, height: int) -> str:
    frame = struct.pack(">BBHBHHB", 0xFF, 0xC2, 8, 8, height, width, 1)
    return base64.b64encode(b"\xff\xd8" + b"\xff\xe0\x00\x04\xff\xc0" + frame).decode()


def display(**data: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {name.replace("_", "/"): value for name, value in data.items()}}


def test_outputs_keep_pictures_and_drop_script() -> None:
    picture = png(640, 480)
    shown = [
        {"output_type": "display_data", "data": {"image/png": picture, "application/javascript": "alert(1)"}},
        {"output_type": "display_data", "data": {"image/svg+xml": "<svg onload=alert(1)>"}},
        {"output_type": "execute_result", "data": {"text/plain": "20.0"}},
    ]
    cleaned = clean_outputs(shown, 10_000, 200)
    assert [output["data"] for output in cleaned] == [{"image/png": picture}, {"text/plain": "20.0"}]
    assert {output["output_type"] for output in cleaned} == {"display_data"}


def test_a_picture_that_would_fill_the_readers_memory_is_left_out() -> None:
    shown = [display(image_png=png(60_000, 60_000)), display(image_jpeg=jpeg(60_000, 60_000))]
    cleaned = clean_outputs(shown, 100_000, 200)
    notice = {"text/plain": "[a picture of 60,000 × 60,000 pixels was left out]"}
    assert [output["data"] for output in cleaned] == [notice, notice]
    kept = [display(image_png=png(2000, 1500)), display(image_jpeg=jpeg(2000, 1500))]
    assert [set(output["data"]) for output in clean_outputs(kept, 100_000, 200)] == [{"image/png"}, {"image/jpeg"}]


@pytest.mark.parametrize("content", ["", "AAAA", "R0lGODlhAQABAAAAACw=", "PHN2Zy8+", "/9j/", "%"])
def test_what_only_says_that_it_is_a_picture_is_dropped(content: str) -> None:
    assert clean_outputs([display(image_png=content), display(image_jpeg=content)], 10_000, 200) == []


def test_outputs_end_at_their_number_and_their_size_and_say_so() -> None:
    line = {"output_type": "stream", "name": "stdout", "text": "x" * 10}
    assert [o["text"] for o in clean_outputs([line] * 4, 1000, 3)][2:] == [
        "x" * 10,
        "[outputs of this cell beyond 3 were left out]\n",
    ]
    assert [o["text"] for o in clean_outputs([line] * 4, 25, 30)] == [
        *["x" * 10] * 2,
        "[output of this cell beyond 0 KiB was left out]\n",
    ]
    huge = {"output_type": "error", "ename": "E", "evalue": "x" * 10**6, "traceback": ["y" * 10**6] * 1000}
    assert sum(map(len, clean_outputs([huge], 10**9, 3)[0]["traceback"])) <= 200 * 2000
