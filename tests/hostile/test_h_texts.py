"""
Rows 120 to 133: hostile recipes as texts and files.

All of these are refused before anything is made. The engine here is one that tells what it was asked; what is refused
never reaches it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

import pytest

from isolation.clock import SystemClock
from isolation.controller import Controller
from isolation.errors import FileError, ImageError, IsolationError, PackageError, RecipeError
from isolation.model.event import RunStarted
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.sandbox.cells import Cells
from isolation.sandbox.leases import Leases
from isolation.stores import Stores
from isolation.testing import IMAGE, FakeEngine, answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.model.event import Event

STEPS = "steps: [{name: a, module: work, function: run}]\n"
POLICY = Policy(name="test")


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    engine = FakeEngine(answering({"merged": 1}))
    yield engine
    engine.forget()


@pytest.fixture
def controller(tmp_path: Path, fake: FakeEngine) -> Iterator[Controller]:
    cells = Cells(fake, Leases(tmp_path / "uids"), local=False)
    stores = Stores(tmp_path / "state")
    made = Controller(stores=stores, engine=fake, cells=cells, clock=SystemClock(), image=IMAGE)
    with closing(made):
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "work.py").write_text("def run(context, params): ...\n")
    return folder


class Refuse(Protocol):
    """What the fixture ``refuse`` gives."""

    def __call__(self, text: str | bytes, *, name: str = ...) -> IsolationError:
        """Run a recipe of that text, and return how it was refused."""


@pytest.fixture
def refuse(controller: Controller, fake: FakeEngine, folder: Path) -> Refuse:
    def refuse(text: str | bytes, *, name: str = "recipe.yaml") -> IsolationError:
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return refused(controller, fake, path)

    return refuse


def refused(controller: Controller, fake: FakeEngine, path: Path) -> IsolationError:
    """Run it, and check that nothing was made, nothing recorded, and no canary sings."""
    with pytest.raises(FileError) as caught:
        controller.run(path, policy=POLICY)
    assert "create" not in fake.asked
    assert not (controller.stores.folder / "isolation.db").exists(), "it was recorded"
    assert not (path.parent / "canary").exists()
    return caught.value


def test_a_good_recipe_is_run(controller: Controller, folder: Path) -> None:
    """Else all that follows would be refused for another reason."""
    (folder / "recipe.yaml").write_text(STEPS)

    assert controller.run(folder, policy=POLICY).outcome is Outcome.SUCCEEDED


TAGS = (
    "!!python/object/apply:os.system ['touch canary']",
    "!!python/object/new:os.system ['touch canary']",
    "!!python/name:os.system",
    "!!python/module:antigravity",
    "!!python/object:__main__.Canary {}",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch canary']",
    "!!binary aGk=",
    "!!timestamp 2001-01-01",
    "!!set {a}",
    "!own a",
    "! a",
)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(
    "where", ["config: {{a: {}}}\n" + STEPS.replace("{", "{{").replace("}", "}}"), "{}", "? {}\n: 1"]
)
def test_row_120_tags_make_nothing(refuse: Refuse, tag: str, where: str) -> None:
    """Whichever it is, and wherever it stands."""
    error = refuse(where.format(tag))

    assert isinstance(error, RecipeError)
    assert error.line is not None
    assert "recipe.yaml:" in error.sentence


LAUGHS = "config:\n  a0: &a0 [lol]\n" + "".join(
    f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
ALIASES = (
    LAUGHS + STEPS,
    "config: {a: &a 1, b: *a}\n" + STEPS,
    "a: &a {}\nb: {<<: *a}\n",
    "config: {<<: {a: 1}}\n" + STEPS,
)


@pytest.mark.parametrize("text", ALIASES, ids=["laughs", "an alias", "a merge of one", "a merge"])
def test_row_121_nothing_is_written_once_and_meant_often(refuse: Refuse, text: str) -> None:
    """A few bytes would stand for gigabytes."""
    assert "not allowed" in refuse(text).sentence


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "config: &a {x: [&b {y: *a, z: *b}]}\n" + STEPS])
def test_row_123_nothing_holds_itself(refuse: Refuse, text: str) -> None:
    """Whoever walks through it never comes out."""
    assert "anchors and aliases are not allowed" in refuse(text).sentence


OTHER_ERRORS = {
    "a date that is none": "config: {d: 2001-99-99}\nsteps: 2001-99-99\n",
    "too many digits": f"config: {{d: {'9' * 5000}}}\n" + STEPS,
    "depth in brackets": "config: " + "[" * 1000 + "]" * 1000 + "\n" + STEPS,
    "depth in lines": "".join("  " * level + f"a{level}:\n" for level in range(200)),
    "depth in dashes": "- " * 5000 + "a",
    "a number past all": "config: {d: 1e999}\n" + STEPS,
    "half a character": 'config: {d: "\\ud800"}\n' + STEPS,
    "no such character": 'config: {d: "\\U00110000"}\n' + STEPS,
    "a bell": "config: {d: \a}\n" + STEPS,
    "a complex key": "? [a]\n: b\n",
}


@pytest.mark.parametrize("what", OTHER_ERRORS)
def test_row_124_what_breaks_a_parser_is_a_recipe_that_is_refused(refuse: Refuse, what: str) -> None:
    """The parser has a dozen ways to fail, the person one sentence to read."""
    assert isinstance(refuse(OTHER_ERRORS[what]), RecipeError)


@pytest.mark.parametrize("scalar", ["1:" + "59:" * 20_000 + "59", "0" * 100_000, "+" * 100_000, "1_" * 50_000])
def test_row_125_a_long_scalar_is_a_text(controller: Controller, folder: Path, scalar: str) -> None:
    """Base 60 takes quadratic time to read, and nobody means it."""
    (folder / "recipe.yaml").write_text(f"config: {{v: {scalar}}}\n{STEPS}")

    assert controller.run(folder, policy=POLICY).outcome is Outcome.SUCCEEDED


TWICE = (
    "steps: []\n" + STEPS,
    STEPS + '"steps": []\n',
    "config: {a: 1, a: 2}\n" + STEPS,
    "config: {a: 1, 'a': 2}\n" + STEPS,
)


@pytest.mark.parametrize("text", TWICE)
def test_row_126_a_key_that_stands_twice_is_refused(refuse: Refuse, text: str) -> None:
    """Who reviews a recipe reads the first, and the parser would take the last."""
    assert "for the second time" in refuse(text).sentence


def test_row_126_in_json_as_well(refuse: Refuse) -> None:
    """The dialect decides nothing."""
    text = '{"steps": [{"name": "a", "module": "work", "function": "run"}], "steps": []}'
    assert "for the second time" in refuse(text, name="recipe.json").sentence


PRIVILEGES = (
    *("privileged", "volumes", "mounts", "binds", "devices", "network", "network_mode", "ports", "cap_add", "runtime"),
    *("security_opt", "user", "sysctls", "pid", "ipc", "uts", "userns_mode", "cgroup_parent", "env", "environment"),
    *("entrypoint", "command", "init", "hostname", "dns", "extra_hosts", "ulimits", "tmpfs", "shm_size", "restart"),
    *("HostConfig", "image", "pull", "labels", "healthcheck", "limits", "policy", "extends", "include", "__class__"),
)


@pytest.mark.parametrize("key", PRIVILEGES)
@pytest.mark.parametrize("where", ["{key}: {value}\n{steps}", "execution: {{{key}: {value}}}\n{steps}", "step"])
def test_row_128_no_word_of_a_recipe_reaches_the_container(refuse: Refuse, key: str, where: str) -> None:
    """There is no such key at any level: what is not known is refused, and never passed on."""
    text = where.format(key=key, value="true", steps=STEPS)
    if where == "step":
        text = STEPS.replace("function: run", f"function: run, {key}: true")

    error = refuse(text)

    assert error.sentence.split(": ", 1)[1].startswith(f"unknown key '{key}'")


NAMES = (
    "../../x",
    "--privileged",
    "-v/:/host",
    "a/b",
    "a\\nb",
    "a\\0b",
    "x" * 4096,
    "\\u202egnp",
    "$(id)",
    "`id`",
    "a;id",
    "",
    ".",
    "..",
    ".hidden",
    "é",
    "a\\tb",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["recipe", "step", "module", "function"])
def test_row_129_names_are_plain_words(refuse: Refuse, name: str, what: str) -> None:
    """Some become names of files, some are shown in every list, none is a path, an option or a command."""
    text = {
        "recipe": f'metadata: {{name: "{name}"}}\n{STEPS}',
        "step": STEPS.replace("name: a", f'name: "{name}"'),
        "module": STEPS.replace("module: work", f'module: "{name}"'),
        "function": STEPS.replace("function: run", f'function: "{name}"'),
    }[what]

    assert isinstance(refuse(text), RecipeError)


def test_row_129_a_cell_is_named_by_its_run_and_never_by_its_recipe(
    controller: Controller, fake: FakeEngine, folder: Path
) -> None:
    """Not even by a name that is allowed."""
    (folder / "recipe.yaml").write_text("metadata: {name: isolation-of-somebody 1}\n" + STEPS)
    seen: list[str] = []

    class Look:
        def on_event(self, _: Event) -> None:
            seen.extend(str((one.name, one.body)) for one in fake.containers.values())

    result = controller.run(folder, policy=POLICY, watcher=Look())

    assert seen
    assert all(result.run_id in one and "somebody" not in one for one in seen)


IMAGES = ("latest", "docker.io/library/alpine", "evil.example/x:latest", "-v/:/host", "sha256:" + "0" * 64, "../x")


@pytest.mark.parametrize("image", IMAGES)
def test_row_130_no_recipe_and_no_policy_names_an_image(refuse: Refuse, image: str) -> None:
    """There is one, and whoever runs the controller chose it."""
    assert "unknown key 'image'" in refuse(f'image: "{image}"\n{STEPS}').sentence
    with pytest.raises(ValueError, match="image"):
        Policy.model_validate({"name": "p", "image": image})


def test_row_130_an_image_that_is_not_there_is_not_fetched(tmp_path: Path, fake: FakeEngine, folder: Path) -> None:
    """The engine is asked for its id, and no container is made of a name."""
    (folder / "recipe.yaml").write_text(STEPS)
    cells = Cells(fake, Leases(tmp_path / "uids"), local=False)
    stores = Stores(tmp_path / "state")
    made = Controller(stores=stores, engine=fake, cells=cells, clock=SystemClock(), image="alpine:latest")
    with made as controller, pytest.raises(ImageError):
        controller.run(folder, policy=POLICY)
    assert "create" not in fake.asked


@pytest.mark.parametrize("name", ["recipe.yaml", "work.py"])
def test_row_132_a_pipe_is_no_file(controller: Controller, fake: FakeEngine, folder: Path, name: str) -> None:
    """Whoever opened it as one would wait for ever."""
    (folder / "recipe.yaml").write_text(STEPS)
    (folder / name).unlink()
    os.mkfifo(folder / name)

    told = refused(controller, fake, folder).sentence

    assert "this is not a regular file" in told if name == "recipe.yaml" else "'work'" in told


@pytest.mark.parametrize("target", ["../secret.py", "/etc/passwd", "/dev/zero", "/proc/self/environ"])
def test_row_132_a_module_that_leads_out_of_its_folder_is_refused(
    controller: Controller, fake: FakeEngine, folder: Path, target: str
) -> None:
    """A package is sent to strangers: it must not take along what only we can read."""
    (folder / "recipe.yaml").write_text(STEPS)
    (folder.parent / "secret.py").write_text("def run(context, params): ...\n")
    (folder / "work.py").unlink()
    (folder / "work.py").symlink_to(target)

    assert isinstance(refused(controller, fake, folder / "recipe.yaml"), PackageError)


def test_row_132_what_changes_after_it_was_read_changes_nothing(controller: Controller, folder: Path) -> None:
    """Everything is read once: what was checked is what runs, what is recorded, and what is run again."""
    original = STEPS + "# the original\n"
    (folder / "recipe.yaml").write_text(original)
    source = (folder / "work.py").read_bytes()

    class Swap:
        def on_event(self, event: Event) -> None:
            if isinstance(event, RunStarted):
                (folder / "recipe.yaml").write_text("steps: !!python/name:os.system\n")
                (folder / "work.py").write_text("import os; os.abort()\n")

    first = controller.run(folder, policy=POLICY, watcher=Swap())
    shutil.rmtree(folder)
    second = controller.rerun(first.run_id)

    assert (first.outcome, second.outcome) == (Outcome.SUCCEEDED, Outcome.SUCCEEDED)
    assert first.digests.package == second.digests.package
    tree = controller.stores.packages / first.digests.package
    assert (tree / "work.py").read_bytes() == source


def huge(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(100 * 2**20)


ODD_FILES: dict[str, Callable[[Path], object]] = {
    "a hundred megabytes": huge,
    "two megabytes of text": lambda path: path.write_text("# x\n" * 2**19 + STEPS),
    "utf-16": lambda path: path.write_text(STEPS, encoding="utf-16"),
    "utf-32": lambda path: path.write_text(STEPS, encoding="utf-32"),
    "latin-1": lambda path: path.write_bytes(b"# \xe9\n" + STEPS.encode()),
    "NUL": lambda path: path.write_text(STEPS + "\0"),
    "nothing": lambda path: path.write_text(""),
    "a list": lambda path: path.write_text("- a\n"),
    "a word": lambda path: path.write_text("steps"),
    "a million steps": lambda path: path.write_text("steps: [" + "{}," * 330_000 + "{}]"),
    "ten thousand and one steps": lambda path: path.write_text(
        "steps:\n" + "".join(f"- {{name: s{n}, module: work, function: run}}\n" for n in range(10_001))
    ),
    "a module of two megabytes": lambda path: (path.parent / "work.py").write_text("# x\n" * 2**19),
}


@pytest.mark.parametrize("what", ODD_FILES)
def test_row_133_an_oversized_or_odd_recipe_is_refused(
    controller: Controller, fake: FakeEngine, folder: Path, what: str
) -> None:
    """By its size before it is parsed, by its encoding before it is read, and by what it is before it is used."""
    (folder / "recipe.yaml").write_text(STEPS)
    ODD_FILES[what](folder / "recipe.yaml")

    assert isinstance(refused(controller, fake, folder), RecipeError | PackageError)
