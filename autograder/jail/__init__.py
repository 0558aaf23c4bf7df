"""The jail: where student code and model graphs run, and the only way their bytes come back."""

from autograder.jail.isolation import Isolation, find_isolation
from autograder.jail.jailed_process import JailedProcess
from autograder.jail.sandbox import SandboxFault, start
from autograder.jail.stream import (
    Frame,
    FrameParser,
    FrameReader,
    StreamProblem,
    StreamSet,
    decode_frames,
    encode_frames,
)

__all__ = [
    "Frame",
    "FrameParser",
    "FrameReader",
    "Isolation",
    "JailedProcess",
    "SandboxFault",
    "StreamProblem",
    "StreamSet",
    "decode_frames",
    "encode_frames",
    "find_isolation",
    "start",
]
