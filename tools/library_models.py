"""Write `autograder/judging/flags/library_models.json`: by which weight names torchvision's classifiers are known.

    python -m tools.library_models

For every classification model of torchvision the file holds fingerprints of the names of its weights. The trusted side
reads them, since it must not import torchvision. Run it again when torchvision has new models.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
import torchvision
from torch import nn

from autograder.judging.flags.library import FEWEST_NAMES, KNOWN, fingerprint, without_child


def fingerprints(model: nn.Module) -> tuple[str, ...]:
    """Of the weights' names but the classifier's: as attributes and, for `nn.Sequential(*children)`, by number."""
    names = list(model.state_dict())
    children = [name for name, _ in model.named_children()]
    places = {name: str(place) for place, name in enumerate(children)}
    body = without_child(names, names[-1].partition(".")[0])
    if len(body) < FEWEST_NAMES:
        return ()
    numbered = [".".join([places.get(head, head), *rest]) for head, *rest in (name.split(".") for name in body)]
    return fingerprint(body), fingerprint(numbered)


def main() -> int:
    known: dict[str, str] = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        # RegNets compute their widths with tensors; all others need no memory for weights that nobody looks at.
        with warnings.catch_warnings(), torch.device("cpu" if name.startswith("regnet") else "meta"):
            warnings.simplefilter("ignore")  # about weights that are drawn anew
            model = torchvision.models.get_model(name, weights=None)
        for found in fingerprints(model):
            known.setdefault(found, name)  # models that differ in widths only share their names
    version = torchvision.__version__.partition("+")[0]
    KNOWN.write_text(json.dumps({"torchvision": version, "models": known}, indent=1) + "\n")
    print(f"{Path(KNOWN).name}: {len(known)} fingerprints, {len(set(known.values()))} kinds of models")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
