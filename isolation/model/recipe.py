"""A recipe: a DAG of steps, each a Python scriptlet. Values only; ``packaging.load`` reads them from files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, JsonValue, Tag

from isolation.units import parse_seconds

NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.\- ]{0,99}$"
DOTTED = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
SECRET_NAME = r"^[A-Z_][A-Z0-9_]{0,63}$"  # noqa: S105 - as below
SECRET_GLOB = r"^[A-Z0-9_*?\[\]!\-]{1,100}$"  # noqa: S105 - what the name of one may look like
NAMESPACE_GLOB = r"^[a-z0-9._*?\[\]!\-]{1,100}$"
FEATURE_CHOICE = r"^!?[A-Za-z_][A-Za-z0-9_]{0,99}$"
ENVIRONMENT = r"^[a-z0-9][a-z0-9._-]{0,63}$"
MOST_SECRETS = 64
_LARGEST_DURATION_S = 30 * 86400.0


def _positive(seconds: float) -> float:
    if not 0 < seconds <= _LARGEST_DURATION_S:
        raise ValueError(f"{seconds} s is not between 0 and 30 days; write one such as 30s")
    return seconds


def _no_less_than_none(seconds: float) -> float:
    return _positive(seconds) if seconds else 0.0


Seconds = Annotated[float, BeforeValidator(parse_seconds), AfterValidator(_positive)]
Delay = Annotated[float, BeforeValidator(parse_seconds), AfterValidator(_no_less_than_none)]
Name = Annotated[str, Field(pattern=NAME)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
Dotted = Annotated[str, Field(pattern=DOTTED, max_length=200)]
SecretName = Annotated[str, Field(pattern=SECRET_NAME)]
SecretGlob = Annotated[str, Field(pattern=SECRET_GLOB)]
NamespaceGlob = Annotated[str, Field(pattern=NAMESPACE_GLOB)]


class Strict(BaseModel):
    """What all models of outside text share: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Success(Strict):
    """What must hold after a step for it to count as succeeded."""

    ctx_has_keys: tuple[str, ...] = Field(default=(), strict=False)


def _on_the_way(part: object) -> object:
    if isinstance(part, str | int) and not isinstance(part, bool):
        return part
    raise ValueError(f"{part!r} is neither a key nor an index; write text, or a whole number")


Way = Annotated[tuple[Annotated[str | int, BeforeValidator(_on_the_way)], ...], Field(max_length=32, strict=False)]
"""Keys of mappings and indices of lists, from the outermost on."""


class Output(Strict):
    """Something that a step returned: all its outputs, or what the keys and indices of ``output`` lead to."""

    step: Name
    output: Way = ()


Part = Annotated[
    Annotated[str, Tag("text")] | Annotated[Output, Tag("output")],
    Discriminator(lambda part: "text" if isinstance(part, str) else "output"),
]


class Filled(Strict):
    """
    What a step's ``args`` hold at one place when the step starts: null stands there until then.

    One part alone is the value itself; several make a text together. It stands apart from ``args``, since nothing in
    these is ever taken for a reference: they are data, whoever wrote them.
    """

    at: Way = Field(min_length=1)
    parts: tuple[Part, ...] = Field(min_length=1, max_length=1_000, strict=False)

    def outputs(self) -> tuple[Output, ...]:
        """Return the parts that come from other steps."""
        return tuple(part for part in self.parts if isinstance(part, Output))


class Step(Strict):
    """
    One scriptlet call.

    ``timeout_s`` None means the policy's limit alone; it gets the ``secrets`` that it names. ``retry_delay_s`` passes
    before each of its ``retry_count`` further tries. It runs only where its ``feature`` is on, or with a ``!`` before
    the name, off. With ``cache`` it may take what it made in an earlier run, where it would find the same again.
    """

    name: Name
    idx: int | None = Field(default=None, ge=0, le=1_000_000)
    type: Literal["python"] = "python"
    description: str = ""
    module: Dotted
    function: Identifier
    args: dict[str, JsonValue] = Field(default_factory=dict)
    args_from: tuple[Filled, ...] = Field(default=(), max_length=1_000, strict=False)
    depends_on: tuple[str, ...] = Field(default=(), strict=False)
    secrets: tuple[SecretName, ...] = Field(default=(), max_length=MOST_SECRETS, strict=False)
    success: Success = Success()
    timeout_s: Seconds | None = Field(default=None, alias="timeout")
    retry_count: int = Field(default=0, ge=0, le=100)
    retry_delay_s: Delay = Field(default=0.0, alias="retry_delay")
    enabled: bool = True
    feature: str | None = Field(default=None, pattern=FEATURE_CHOICE)
    cache: bool = False


class Execution(Strict):
    """
    How the recipe as a whole is run; a recipe may ask for less than its policy allows, never more.

    With ``continue_on_error`` a step that failed keeps only those from running that depend on it; else all that have
    not begun.
    """

    timeout_s: Seconds | None = Field(default=None, alias="timeout_seconds")
    retry_attempts: int = Field(default=0, ge=0, le=100)
    parallel_execution: bool = False
    continue_on_error: bool = True


class Scope(Strict):
    """Globs over context keys. None means that the recipe declares nothing: the policy's scope holds."""

    reads: tuple[str, ...] | None = Field(default=None, strict=False)
    writes: tuple[str, ...] | None = Field(default=None, strict=False)


class Leeway(Strict):
    """
    What does not count when two runs are compared.

    ``volatile`` are globs over keys of the context, over names of artifacts, and over outputs as ``step.path``;
    ``tolerance`` is the share of the larger by which two numbers may differ.
    """

    volatile: tuple[str, ...] = Field(default=(), strict=False)
    tolerance: float = Field(default=0.0, ge=0, lt=1, strict=False)


class Environment(Strict):
    """What is otherwise in one environment: values of ``config`` and features that are there without it, too."""

    config: dict[str, JsonValue] = Field(default_factory=dict)
    features: dict[Identifier, bool] = Field(default_factory=dict)


EnvironmentName = Annotated[str, Field(pattern=ENVIRONMENT)]


class Recipe(Strict):
    """
    A whole recipe, whatever dialect its file was written in.

    ``steps`` stand in the order of the file; ``rules.order`` gives the order of the run.
    ``files`` are globs below the recipe's folder; ``requirements`` are PEP 508 texts. ``secrets`` are all that its
    steps may take, by name: a value is never part of a recipe. ``features`` tell what is on. ``environment`` is the
    one that it was made for, by ``rules.environment``; empty before that, and where it knows none.
    """

    name: Name
    version: str = ""
    description: str = ""
    author: str = ""
    tags: tuple[str, ...] = Field(default=(), strict=False)
    requirements: tuple[str, ...] = Field(default=(), strict=False)
    files: tuple[str, ...] = Field(default=(), strict=False)
    execution: Execution = Execution()
    config: dict[str, JsonValue] = Field(default_factory=dict)
    features: dict[Identifier, bool] = Field(default_factory=dict)
    environments: dict[EnvironmentName, Environment] = Field(default_factory=dict)
    environment: str = ""
    context: Scope = Scope()
    determinism: Leeway = Leeway()
    secrets: tuple[SecretName, ...] = Field(default=(), max_length=MOST_SECRETS, strict=False)
    steps: tuple[Step, ...] = Field(min_length=1, max_length=10_000, strict=False)
