"""A design space: chips, workloads, storage formats and the parameters that vary, from a YAML file.

The file is read as strictly as a hardware description: unknown keys, duplicate keys and values that the chip's model
does not know are one-line errors with file, line and path.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails

from accelsim.config.base import ConfigModel
from accelsim.config.explain import explain, find_field, find_section
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import validate
from accelsim.config.overrides import parse_override
from accelsim.config.quantities import Quantity
from accelsim.config.yaml_reader import YamlDocument, YamlPath, YamlValue, read_yaml
from accelsim.dse.constraints import Constraint, check_metric, parse_constraint
from accelsim.errors import AccelSimError, ConfigError
from accelsim.names import suggest
from accelsim.storage import get_format
from accelsim.trace.batch import batch_problem
from accelsim.trace.options import phase_problem

MAX_LEVELS = 10_000
_OF_RANGE = frozenset({
    "greater_than", "greater_than_equal", "less_than", "less_than_equal", "value_error", "missing", "multiple_of",
})  # fmt: skip
STORAGE = "storage"
TICKET_WORDS = {
    "distribution": ("uniform", "erk", "epl"),
    "stream": ("layer", "filter", "tile"),
    "seeds": ("stored", "derived", "jump"),
}
BATCH = "batch"
"""Inputs of one run, a variable of every workload."""
PHASE_PARAMETERS = ("phase", "context", "prompt", "tokens", "kv_bits")
"""What is run of a language model, variables of such workloads."""
RUN_PARAMETERS = (BATCH, *PHASE_PARAMETERS)
TICKET_PARAMETERS = ("sparsity", "freeze_ratio", "prune_ratio", "lock_ratio", *TICKET_WORDS)

_OTHERWISE = {
    "hardware": "give several chips as a list of the key hardware, beside vary",
    "workloads": "give several networks as a list of the key workloads, beside vary",
    "workload": "give several networks as a list of the key workloads, beside vary",
    "codec": "codecs are storage formats: vary storage: [slt-raw, slt-rle, slt-golomb, slt-entropy]",
    "format": "vary storage",
    "generator": "vary weight_generator.kind",
}

Value = Any  # a YAML value: number, text, true, false, null, or a mapping such as {K: 16, C: 16}


class RangeModel(ConfigModel):
    """A range of values: ``from`` to ``to``, both included."""

    first: float = Field(alias="from")
    """First value."""
    last: float = Field(alias="to")
    """Last value."""
    step: float | None = Field(None, gt=0)
    """Distance of values; either this or ``num``."""
    num: int | None = Field(None, ge=2, le=MAX_LEVELS)
    """Number of values."""
    scale: Literal["linear", "log"] = "linear"
    """``log``: equal ratios instead of equal distances; needs ``num``, or ``step`` as the ratio of two values."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.step is None) == (self.num is None):
            raise ValueError("a range needs either step or num; give one of them")
        if self.last < self.first:
            raise ValueError(f"from {self.first:g} to {self.last:g} is empty; give to >= from")
        if self.scale == "log" and (self.first <= 0 or (self.step is not None and self.step <= 1)):
            raise ValueError("a log range needs from > 0, and step > 1 or num; step is the ratio of two values")
        if self.step is not None and self._steps() > MAX_LEVELS:
            raise ValueError(f"a range of more than {MAX_LEVELS} values; give a larger step")
        return self

    def _steps(self) -> int:
        step = self.step or 1.0
        if self.scale == "log":
            return math.floor(math.log(self.last / self.first) / math.log(step) + 1e-9) + 1
        return math.floor((self.last - self.first) / step + 1e-9) + 1

    def levels(self) -> tuple[int | float, ...]:
        """Return the values, to 12 digits; whole numbers where all of them are within 1e-9 of one."""
        number = self.num or self._steps()
        if self.scale == "log":
            ratio = self.step or (self.last / self.first) ** (1 / (number - 1))
            values = [self.first * ratio**index for index in range(number)]
        else:
            step = self.step or (self.last - self.first) / (number - 1)
            values = [self.first + step * index for index in range(number)]
        if self.num is not None:
            values[-1] = self.last
        whole = self.first.is_integer() and self.last.is_integer() and (self.step is None or self.step.is_integer())
        if whole and (self.scale == "log" or all(abs(value - round(value)) < 1e-9 for value in values)):
            return tuple(dict.fromkeys(round(value) for value in values))
        # 0 + 3 * 0.3 is 0.8999999999999999: who writes 0.9 in a list must get the same point.
        return tuple(float(f"{value:.12g}") for value in values)


class SpaceModel(ConfigModel):
    """The file's content; one name may stand without the brackets of a list."""

    hardware: list[str] = Field(min_length=1, max_length=1000)
    """Hardware descriptions to start from."""
    workloads: list[str] = Field(min_length=1, max_length=1000)
    """Tickets, topologies, or names of networks."""
    storage: list[str] | None = Field(None, min_length=1, max_length=1000)
    """Storage formats; the default is slt for tickets and dense-int8 for the rest."""
    vary: dict[str, Any] = Field(default_factory=dict)
    """Path of a hardware field (several, joined by commas, move together), ``storage``, ``batch``, a parameter of a
    language model's run or of a ticket -> a list of values or a range."""
    constraints: list[str] = Field(default_factory=list, max_length=100)
    """Conditions such as ``area_mm2 <= 2``."""
    objectives: list[str] = Field(default_factory=list, max_length=6)
    """What ``explore`` optimises unless told otherwise on the command line."""

    @field_validator("hardware", "workloads", "storage", "constraints", "objectives", mode="before")
    @classmethod
    def _as_list(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, tuple):
            value = list(value)
        if isinstance(value, str) and info.field_name in ("storage", "objectives"):
            value = [part.strip() for part in value.split(",")]
        elif isinstance(value, (str, PurePath)):
            value = [value]
        if isinstance(value, list):
            value = [os.fspath(entry) if isinstance(entry, PurePath) else entry for entry in value]
        if value == []:
            raise ValueError("an empty list; give at least one name, or leave the key out")
        return value


@dataclass(frozen=True, slots=True)
class Variable:
    """One axis: what varies, and the values it takes in order.

    ``paths`` are hardware fields that all take the value; empty for ``storage`` and parameters of runs and tickets.
    """

    name: str
    paths: tuple[str, ...]
    levels: tuple[Value, ...]

    @property
    def is_numeric(self) -> bool:
        """Return whether all values are numbers, so that they have an order."""
        return all(isinstance(level, (int, float)) and not isinstance(level, bool) for level in self.levels)


@dataclass(frozen=True, slots=True)
class DesignSpace:
    """A checked space.

    Attributes
    ----------
    path
        As given; "" for a space from text.
    hardware, workloads
        Paths and names as given.
    variables
        Axes in file order; ``storage`` among them where it varies.
    storage
        The one storage format of every point, or None for the default of each workload.
    storage_of
        Other formats for layers or kinds, as ``LAYER=FORMAT``, whatever a point's format is.
    run
        What is run of language models, as names and values, where it does not vary.
    """

    path: str
    hardware: tuple[str, ...]
    workloads: tuple[str, ...]
    variables: tuple[Variable, ...]
    storage: str | None
    constraints: tuple[Constraint, ...]
    objectives: tuple[str, ...]
    storage_of: tuple[str, ...] = ()
    run: tuple[tuple[str, Value], ...] = ()

    @property
    def num_choices(self) -> int:
        """Return the combinations of all variables."""
        return math.prod(len(variable.levels) for variable in self.variables)

    def choices(self) -> Iterator[tuple[Value, ...]]:
        """Yield every combination of the variables' values, the last variable fastest."""
        return itertools.product(*(variable.levels for variable in self.variables))

    @property
    def varies_ticket(self) -> bool:
        """Return whether ticket parameters are among the variables."""
        return any(variable.name in TICKET_PARAMETERS for variable in self.variables)


def load_space(path: str | Path) -> DesignSpace:
    """Read a design space.

    Raises
    ------
    ConfigError
        One line with file, line, key path, what is allowed and the remedy.
    """
    return _space(read_yaml(path))


def space_from_mapping(root: dict[str, YamlValue], name: str = "space") -> DesignSpace:
    """Return the space that a mapping with the keys of the file describes; errors name it ``name``."""
    return _space(YamlDocument(path=name, content=b"", root=root, lines={}))


def with_run(space: DesignSpace, run: Mapping[str, Value]) -> DesignSpace:
    """Return a space in which all runs have one batch, and the same is run of all language models.

    Raises
    ------
    ConfigError
        It is nothing that can be run, or the space varies it.
    """
    problem = batch_problem(run[BATCH]) if BATCH in run else None
    problem = problem or phase_problem(run)
    if problem:
        raise ConfigError(f"--{problem.replace('_', '-', 1)}")
    for variable in space.variables:
        if variable.name in run:
            raise ConfigError(f"{space.path}: vary.{variable.name}: is stated by an option too; keep one of them")
    return replace(space, run=tuple(run.items()))


def _space(document: YamlDocument) -> DesignSpace:
    model = validate(document.root, SpaceModel, document, ())
    variables = [_variable(name, value, document) for name, value in model.vary.items()]
    storage = list(model.storage or [])
    if storage and any(variable.name == STORAGE for variable in variables):
        raise ConfigError(f"{_where(document, (STORAGE,))}: stands beside vary.{STORAGE}; keep one of them")
    if len(storage) > 1:
        variables.append(_variable(STORAGE, storage, document, (STORAGE,)))
    _check_unique(variables, document)
    return DesignSpace(
        path=document.path,
        hardware=tuple(dict.fromkeys(model.hardware)),
        workloads=tuple(dict.fromkeys(model.workloads)),
        variables=tuple(variables),
        storage=_format(storage[0], document, (STORAGE,)) if len(storage) == 1 else None,
        constraints=tuple(
            parse_constraint(text, _where(document, ("constraints", index)))
            for index, text in enumerate(model.constraints)
        ),
        objectives=tuple(
            check_metric(name, _where(document, ("objectives", index))) for index, name in enumerate(model.objectives)
        ),
    )


def _where(document: YamlDocument, location: YamlPath, shown: YamlPath | None = None) -> str:
    dotted = ".".join(str(part) for part in shown or location)
    return f"{document.path}:{document.line_of(location)}: {dotted}" if document.lines else f"{document.path}: {dotted}"


def _check_unique(variables: list[Variable], document: YamlDocument) -> None:
    seen: set[str] = set()
    for variable in variables:
        for path in variable.paths or (variable.name,):
            if path in seen:
                raise ConfigError(f"{document.path}: vary: {path}: varies twice; keep one")
            seen.add(path)
    if {"freeze_ratio"} & seen and {"prune_ratio", "lock_ratio"} & seen:
        raise ConfigError(
            f"{document.path}: vary: freeze_ratio: is prune_ratio + lock_ratio; vary either it or these two"
        )


def _variable(name: str, value: Value, document: YamlDocument, location: tuple[str, ...] | None = None) -> Variable:
    where = _where(document, location or ("vary", name))
    value = in_plain_units(value, name, where)
    levels = _levels(value, where, document, name)
    if name == STORAGE:
        return Variable(name, (), tuple(_format(level, document, location or ("vary", name)) for level in levels))
    if name == BATCH:
        problem = next(filter(None, map(batch_problem, levels)), None)
        if problem:
            raise ConfigError(f"{where}: {problem.removeprefix('batch: ')}")
        return Variable(name, (), levels)
    if name in PHASE_PARAMETERS:
        for level in levels:
            problem = phase_problem({name: level})
            if problem:
                raise ConfigError(f"{where}: {problem.removeprefix(f'{name}: ')}")
        return Variable(name, (), levels)
    if name in TICKET_PARAMETERS:
        _check_ticket_levels(name, levels, where)
        return Variable(name, (), levels)
    paths = tuple(part.strip() for part in name.split(","))
    if not all(paths):
        raise ConfigError(f"{where}: a name is missing beside a comma; write path, or path, path")
    for path in paths:
        _check_path(path, where)
        _check_levels(path, levels, where)
    return Variable("=".join(paths), paths, levels)


def in_plain_units(value: Value, name: str, where: str) -> Value:
    """Return values of a field that takes units as plain numbers, so that ranges and orders know them.

    Raises
    ------
    ConfigError
        A text that is no number with a unit; ``where`` says where it stands.
    """
    field = find_field(HardwareConfig, tuple(name.partition(",")[0].strip().split(".")))
    unit = next((rule for rule in field.metadata if isinstance(rule, Quantity)), None) if field is not None else None
    if unit is None:
        return value
    try:
        if isinstance(value, dict):
            return {key: unit.number(each) if key in ("from", "to") else each for key, each in value.items()}
        return [unit.number(each) for each in value] if isinstance(value, (list, tuple)) else value
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _levels(value: Value, where: str, document: YamlDocument, name: str) -> tuple[Value, ...]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple, range)):
        levels = tuple(level.item() if isinstance(level, np.generic) else level for level in value)
    elif isinstance(value, dict):
        levels = _range(value, document, name).levels()
    else:
        raise ConfigError(f"{where}: {value!r} is no list or range; give [a, b, c] or {{from: a, to: b, num: n}}")
    unique: list[Value] = []
    for level in levels:
        if not any(level == other and isinstance(level, bool) == isinstance(other, bool) for other in unique):
            unique.append(level)
    if not 1 <= len(unique) <= MAX_LEVELS:
        raise ConfigError(f"{where}: {len(unique)} values; give 1 to {MAX_LEVELS}")
    return tuple(unique)


def _range(value: dict[str, Value], document: YamlDocument, name: str) -> RangeModel:
    try:
        return RangeModel.model_validate(value)
    except ValidationError as error:
        details = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
        where = _where(document, ("vary", name, *details["loc"]), shown=("vary", name))
        joint = "." if details["loc"] else ": "
        raise ConfigError(f"{where}{joint}{explain(details, RangeModel)}") from None


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _format(name: Value, document: YamlDocument, location: tuple[str, ...]) -> str:
    try:
        return get_format(str(name)).name
    except AccelSimError as error:
        raise ConfigError(f"{_where(document, location)}: {str(error).removeprefix('storage: ')}") from None


def _check_path(path: str, where: str) -> None:
    """Refuse what is no field of a chip, with the nearest field, ticket parameter or key that it may have meant."""
    try:
        parse_override(f"{path}=0", HardwareConfig)
    except ConfigError as error:
        others = f"{STORAGE}, {', '.join((*RUN_PARAMETERS, *TICKET_PARAMETERS))}"
        if path in _OTHERWISE:
            raise ConfigError(f"{where}: {path}: unknown path; {_OTHERWISE[path]}") from None
        near = suggest(path, (STORAGE, *RUN_PARAMETERS, *TICKET_PARAMETERS))
        if near:
            raise ConfigError(f"{where}: {path}: unknown path; {near}known: paths of a chip; or {others}") from None
        raise ConfigError(f"{where}: {str(error).partition(': ')[2]}; or {others}") from None


def _check_levels(path: str, levels: tuple[Value, ...], where: str) -> None:
    """Refuse values that no chip can have: words that are no choice, a text for a number, unknown keys of a section.

    A number out of its range is not refused: such points are rows with their reason, as a range may reach too far.
    """
    *above, last = path.split(".")
    section = find_section(HardwareConfig, tuple(above))
    if section is None or last not in section.model_fields:
        return  # a key of a free mapping
    for level in levels:
        try:
            section.model_validate({last: level})
        except ValidationError as error:
            for details in error.errors():
                if details["loc"][:1] == (last,) and details["type"] not in _OF_RANGE:
                    full = ErrorDetails(**{**details, "loc": (*above, *details["loc"])})
                    message = explain(full, HardwareConfig)
                    message = message.removeprefix(f"{path}: ") if where.endswith(path) else message
                    raise ConfigError(f"{where}: {message}") from None


def _check_ticket_levels(name: str, levels: tuple[Value, ...], where: str) -> None:
    for level in levels:
        if name in TICKET_WORDS:
            if level not in TICKET_WORDS[name]:
                raise ConfigError(f"{where}: {level!r} is not allowed; give one of {', '.join(TICKET_WORDS[name])}")
        elif not _is_number(level) or not 0 <= level <= 1:
            raise ConfigError(f"{where}: {level!r} is not a fraction; give numbers from 0 to 1")
