"""What the student kit carries of the graders: the checks that are public, copied with everything that they need.

`PUBLIC` is the line between public and hidden. A public check is the grader's own: its code is copied into the kit,
name by name, with each function, class and constant that it uses, down to the graph of a network. Of a hidden one the
kit knows the title only. What a public check is asked with (arguments, image sizes, draws) is what `grader_config.py`
declares, drawn from a secret that is none.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.core.config import Exercise, load_course
from autograder.core.declared_checks import declared_checks
from autograder.core.fields import exercise_values, fill
from autograder.core.literal import literal
from autograder.pipeline.plan import plan_probes
from tools.samples import ASSIGNMENT, ROOT

# The graders' checks that run in the kit as they are, by grader file.
PUBLIC: Mapping[str, tuple[str, ...]] = {
    "test_deeper_cnn": (
        "test_logits",
        "test_any_batch_size",
        "test_weights_learn",
        "test_four_blocks",
        "test_batch_norm",
        "test_other_image_size",
        "test_raw_logits_and_dropout",
    ),
    "test_depthwise_separable": (
        "test_output_shapes",
        "test_first_is_depthwise",
        "test_second_is_pointwise",
        "test_trains",
    ),
    "test_modern_cnn": (
        "test_logits",
        "test_residual_blocks",
        "test_batch_norm",
        "test_other_image_size",
        "test_weights_learn",
        "test_training_varies",
        "test_training_gives_float",
        "test_testing_does_not_vary",
        "test_both_normalise_alike",
    ),
}
# Checks that the kit has in words of its own: the grader's would give the answer away, or need what students lack.
IN_OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "test_output_size": (
        "test_worked_output_size",
        "test_worked_same_padding",
        "test_plain_case",
        "test_padding",
        "test_floor",
        "test_dilation",
        "test_agrees_with_conv2d",
        "test_value_error",
    ),
    "test_depthwise_separable": ("test_standard_weights", "test_separable_weights"),
    "test_modern_cnn": ("test_accuracy",),
}
# What hidden checks look at, where their titles would give an answer away.
IN_SHORT: Mapping[str, str] = {"test_weight_ratio": "how many weights the convolutions have"}
# What those need, and what the kit itself calls, wherever in the rooms below it is defined.
TOOLS = (
    "Build", "CallEvidence", "Collector", "Convolution", "Gradients", "GradientStats", "Graph", "GraphError",
    "GraphRefused", "GraphShapes", "Loaded", "Network", "NotANormalisation", "Problem", "RunnerProblem", "SEED",
    "Sample", "Samples", "Value", "_loss", "_trainable_copy", "call_flexibly", "channels_seen", "describe_result",
    "estimate", "execute", "expect_alive", "expect_within_budget", "graph_from_wire", "graph_to_wire",
    "name_tensors", "normalisation_of", "probe_image", "read_state_dict", "whole_number",
)  # fmt: skip
ROOMS = ("graders", "graphs", "judging", "worker")
# What the kit has itself, or in another form: the language of checks, the exporter, the table of operations (made from
# the student's own torch), a runner without a jail; what would give an exercise's solution away.
KITS_OWN = frozenset(
    {
        "CheckContext", "CheckEnded", "ExportProblem", "Runner", "SUPPORTED_OPERATIONS", "Status", "TensorPool",
        "_TABLE", "answered", "check_tensors", "expect", "expect_depthwise", "export_graph", "fail", "need", "side_of",
    }
)  # fmt: skip
PUBLIC_SECRET = b"public"
OWN_MODULE = "_kit"


class NotCopied(ValueError):
    """Something of the graders cannot be copied into the kit; the message says what."""


@dataclass
class Module:
    """One module of the package: its top-level statements by the names that they define, and where others come from."""

    name: str
    lines: list[str]
    statements: list[ast.stmt]
    defines: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (module, name there or "")

    @classmethod
    def read(cls, name: str, root: Path) -> Module:
        path = root / Path(*name.split("."))
        text = next(p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()).read_text("utf-8")
        module = cls(name, text.splitlines(), ast.parse(text).body)
        for statement in module.statements:
            if isinstance(statement, ast.ImportFrom):
                for alias in statement.names:
                    module.imports[alias.asname or alias.name] = (statement.module or "", alias.name)
            elif isinstance(statement, ast.Import):
                for alias in statement.names:
                    module.imports[alias.asname or alias.name.split(".")[0]] = (alias.name, "")
            else:
                for defined in _defined_names(statement):
                    module.defines.setdefault(defined, []).append(statement)
        return module

    def text(self, statement: ast.stmt) -> str:
        """A statement as it stands in the file, with the comment above it; a check without its decorators."""
        decorators = getattr(statement, "decorator_list", [])
        first = statement.lineno if statement.lineno and _is_check(statement) else _first_line(statement, decorators)
        start = first - 1
        if not _is_check(statement):
            while start and self.lines[start - 1].startswith("#"):
                start -= 1
        return "\n".join(self.lines[start : statement.end_lineno])


def _is_check(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_")


def _first_line(statement: ast.stmt, decorators: list[ast.expr]) -> int:
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _defined_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
        targets = [statement.target]
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


class _Uses(ast.NodeVisitor):
    """The names that a statement needs when it runs: annotations are text, and a check's decorators are left out."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        self.names.add(node.id)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for part in (node.target, node.value):
            if part is not None:
                self.visit(part)

    def visit_arg(self, node: ast.arg) -> None:
        pass

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        inside = _Uses()
        for part in (node.args, *node.body):
            inside.visit(part)
        self.names |= inside.names - {argument.arg for argument in node.args.args}
        for decorator in [] if _is_check(node) else node.decorator_list:
            self.visit(decorator)


class Copy:
    """Everything that some names of the package need, module by module, each after what it needs itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, Module] = {}
        self.needed: dict[str, dict[str, tuple[str, str]]] = {}  # module -> name that it imports -> (module, name)
        self.taken: dict[str, set[str]] = {}  # module -> its own names
        self.order: list[str] = []

    def module(self, name: str) -> Module:
        if name not in self.modules:
            self.modules[name] = Module.read(name, self.root)
        return self.modules[name]

    def take(self, module: str, name: str) -> None:
        """Copy a name of a module, and what it uses."""
        if name in self.taken.setdefault(module, set()):
            return
        self.taken[module].add(name)
        source = self.module(module)
        if name not in source.defines:
            raise NotCopied(f"{module} defines no {name}")
        for statement in source.defines[name]:
            uses = _Uses()
            uses.visit(statement)
            for used in sorted(uses.names):
                if used in source.defines:
                    self._take_own(module, used)
                elif used in source.imports:
                    self._take_imported(module, used)

    def _take_own(self, module: str, name: str) -> None:
        if name in KITS_OWN:
            self.needed.setdefault(module, {})[name] = (OWN_MODULE, name)
        else:
            self.take(module, name)

    def _take_imported(self, module: str, name: str) -> None:
        origin, there = self.origin(*self.module(module).imports[name])
        if there in KITS_OWN:
            origin = OWN_MODULE
        elif origin.startswith("autograder."):
            self.take(origin, there)
        self.needed.setdefault(module, {})[name] = (origin, there)

    def origin(self, module: str, name: str) -> tuple[str, str]:
        """Where a name is defined, behind the faces that hand it on."""
        while module.startswith("autograder.") and name in self.module(module).imports:
            module, name = self.module(module).imports[name]
        return module, name

    def sorted_modules(self) -> Iterator[str]:
        """Modules, each after those that it imports from."""
        done: set[str] = set()

        def visit(name: str) -> Iterator[str]:
            if name in done:
                return
            done.add(name)
            for origin, _ in sorted(set(self.needed.get(name, {}).values())):
                if origin in self.taken:
                    yield from visit(origin)
            yield name

        for name in sorted(self.taken):
            yield from visit(name)

    def source(self, name: str) -> str:
        """The copied part of a module as a program."""
        module, own = self.module(name), self.taken[name]
        imports = sorted(_import_line(used, *place) for used, place in self.needed.get(name, {}).items())
        chosen = [s for s in module.statements if set(_defined_names(s)) & own]
        body = "\n\n".join(module.text(statement) for statement in chosen)
        return "\n".join(["from __future__ import annotations", *imports, "", body])


def module_name(origin: str) -> str:
    """Under which name a module's copy is known in the kit."""
    return origin if not origin.startswith("autograder.") else "_kit_" + origin.split(".", 1)[1].replace(".", "_")


def _import_line(used: str, origin: str, there: str) -> str:
    if not there:
        return f"import {origin}" + (f" as {used}" if used != origin.split(".")[0] else "")
    return f"from {module_name(origin)} import {there}" + (f" as {used}" if used != there else "")


def places_of_tools(root: Path = ROOT) -> dict[str, str]:
    """The module that defines each of the tools: as a class or a function, else as a constant. Raises NotCopied where
    none does, or several."""
    found: dict[str, list[str]] = {name: [] for name in TOOLS}
    constants: dict[str, list[str]] = {name: [] for name in TOOLS}
    for path in sorted(path for room in ROOMS for path in (root / "autograder" / room).rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for name, statements in Module.read(module, root).defines.items():
            if name in found:
                is_constant = not isinstance(statements[0], (ast.ClassDef, ast.FunctionDef))
                (constants if is_constant else found)[name].append(module)
    for name in TOOLS:
        found[name] = found[name] or constants[name]
        if len(found[name]) != 1:
            raise NotCopied(f"{name} is defined in {len(found[name])} modules: {', '.join(found[name]) or 'none'}")
    return {name: modules[0] for name, modules in found.items()}


def copied_modules(root: Path = ROOT) -> dict[str, str]:
    """The programs that the kit carries, by the names of their modules, in the order in which they can be run."""
    copy = Copy(root)
    for file, checks in PUBLIC.items():
        for check in checks:
            copy.take(f"autograder.graders.{file}", check)
    for name, module in places_of_tools(root).items():
        copy.take(module, name)
    return {module_name(name): copy.source(name) for name in copy.sorted_modules()}


def section(root: Path = ROOT) -> str:
    """The generated part of the kit: what is asked, which checks there are, the graders' code for the public ones."""
    assignment = load_course(root).assignment(ASSIGNMENT)
    parts = [_tables(root, assignment.exercises)]
    tools = {name: module_name(place) for name, place in places_of_tools(root).items()}
    parts.append(f"_TOOLS = {literal(tools, 0)}  # what the kit itself uses of the programs below, and of which\n")
    parts.append("_GRADERS = {  # programs, run when a public check first needs them")
    for name, text in copied_modules(root).items():
        quotes = "'''" if '"""' in text else '"""'
        if quotes in text or text.endswith("\\"):
            raise NotCopied(f"{name} cannot stand between triple quotes")
        parts.append(f"    {json.dumps(name)}: r{quotes}\n{text}\n{quotes},")
    parts.append("}")
    return "\n".join(parts)


def _tables(root: Path, exercises: Any) -> str:
    probes = {exercise.notebook: list(_probes(exercise)) for exercise in exercises}
    checks = [row for exercise in exercises for row in _checks(root, exercise)]
    lines = ["_PROBES: dict[str, list[dict[str, Any]]] = {  # what is asked of a notebook, as grader_config.py says"]
    for notebook, own in probes.items():
        lines += [f"    {json.dumps(notebook)}: [", *(f"        {literal(probe, 8)}," for probe in own), "    ],"]
    lines += ["}", "", "_CHECKS = (  # cell, grader, check, title, the checks that it depends on, and how public it is"]
    lines += [f"    {literal(row, 4)}," for row in checks]
    return "\n".join([*lines, ")", ""])


def _probes(exercise: Exercise) -> Iterator[dict[str, Any]]:
    """The probes of the plan, drawn publicly; the kit draws the images on which transforms are tried itself."""
    for probe in plan_probes(exercise, PUBLIC_SECRET, ASSIGNMENT):
        left_out = {"step", "drawn", "pixels", "shape"}
        yield {key: value for key, value in probe.items() if key not in left_out}


def _checks(root: Path, exercise: Exercise) -> Iterator[tuple[Any, ...]]:
    """Cell, grader, name, title, requirements of each check, and whose words it is in."""
    grader = exercise.grader.removesuffix(".py")
    for check in declared_checks(root / "autograder" / "graders" / exercise.grader):
        title, how = fill(check.title, exercise_values(exercise)), "hidden"
        if check.name in PUBLIC.get(grader, ()):
            how = "public"
        if check.name in IN_OTHER_WORDS.get(grader, ()):
            how, title = "own words", ""
        if how == "hidden":
            title = IN_SHORT.get(check.name, f"“{title}”")
        yield (check.cell, grader, check.name, title, check.requires, how)
