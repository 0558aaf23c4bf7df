"""The images that models are graded on: CIFAR-10 in three forms, or the built-in offline set.

`find_source` looks in `$CIFAR10_ROOT`, then in `./data`. Only a caller who says `allow_offline=True` (the demo, the
tests, the lesson) may get the offline set instead: grading never falls back. `load` decodes one split, once: decoded
arrays are kept in a cache. See docs/data.md.
"""

from autograder.judging.datasets.decoding import Images, Labels, content_hash
from autograder.judging.datasets.finding import find_source, source_at
from autograder.judging.datasets.loading import (
    Dataset,
    find_test_set,
    held_out_places,
    load,
    load_held_out,
    names_of_images,
)
from autograder.judging.datasets.sources import CLASSES, DataError, Source, Split

__all__ = [
    "CLASSES",
    "DataError",
    "Dataset",
    "Images",
    "Labels",
    "Source",
    "Split",
    "content_hash",
    "find_source",
    "find_test_set",
    "held_out_places",
    "load",
    "load_held_out",
    "names_of_images",
    "source_at",
]
