"""The files that set things up agree with each other: pyproject, locks, imports, Makefile, Dockerfile, CI, the wheel.

`make check` runs these too. None of them needs the network.
"""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? \\$", re.MULTILINE
)


def pins(lock: str) -> dict[str, set[str]]:
    """The locked versions of each package; more than one where a marker chooses."""
    found: dict[str, set[str]] = {}
    for pin in PIN.finditer((ROOT / lock).read_text("utf-8")):
        found.setdefault(canonicalize_name(pin["name"]), set()).add(pin["version"])
    return found


# --------------------------------------------------------------------------------------------- lock files


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_address_and_hashes_everything(lock):
    text = (ROOT / lock).read_text("utf-8")
    assert "://" not in text
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == sum(len(versions) for versions in pins(lock).values())
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("folder", ["web_client", "tests/bench/rivals"])
def test_an_npm_lock_names_no_address(folder):
    text = (ROOT / folder / "package-lock.json").read_text("utf-8")
    assert '"resolved"' not in text
    packages = json.loads(text)["packages"]
    assert [
        name for name, told in packages.items() if name and "integrity" not in told and "link" not in told
    ] == []


def test_both_locks_have_the_same_runtime():
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: dev.get(name) for name in runtime} == runtime


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", PROJECT["dependencies"]),
        ("requirements-dev.lock", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_the_lock_has_all_that_pyproject_wants_and_all_that_those_want(lock, wanted):
    """Else: make lock."""
    locked = pins(lock)
    missing: list[str] = []
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(Requirement(text), "pyproject.toml") for text in wanted]
    while todo:
        requirement, wanted_by = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not any(requirement.specifier.contains(Version(version)) for version in locked.get(name, ())):
            missing.append(f"{requirement} (for {wanted_by}), locked: {locked.get(name, 'not at all')}")
            continue
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        for text in importlib.metadata.requires(name) or ():
            inner = Requirement(text)
            extras = ["", *requirement.extras]
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                inner.marker = None
                todo.append((inner, name))
    assert missing == []


def test_what_is_installed_is_what_is_locked():
    """Else: make setup."""
    wrong = []
    for name, versions in pins("requirements-dev.lock").items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # a marker left it out here
        if installed not in versions:
            wrong.append(f"{name} {installed}, locked: {versions}")
    assert wrong == []


# ----------------------------------------------------------------------------------------- who knows whom


def imports(package: str) -> set[str]:
    """The top-level names that the modules of a package import, `if TYPE_CHECKING` and functions included."""
    found = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.split(".")[0])
    return found


def test_rooms_stands_on_the_standard_library_and_msgspec_alone():
    # Of the standard library, import-linter (pyproject.toml) forbids what reads a clock or does I/O.
    assert imports("rooms") - sys.stdlib_module_names <= {"rooms", "msgspec"}


def test_media_knows_nothing_of_rooms():
    assert not imports("media") & {"rooms", "signaling"}


def test_every_import_of_the_server_is_a_declared_dependency():
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    providers = importlib.metadata.packages_distributions()
    used = set().union(*map(imports, ("rooms", "media", "signaling"))) - sys.stdlib_module_names
    undeclared = {
        name
        for name in used - {"rooms", "media", "signaling"}
        if not {canonicalize_name(provider) for provider in providers.get(name, ())} & declared
    }
    assert undeclared == set()


# --------------------------------------------------------------------------------------- make, CI, image


def test_make_tells_its_targets():
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make ([a-z-]+)", told, re.MULTILINE))
    assert targets >= {"setup", "run", "test", "check", "lock", "wheel", "bench", "clean"}


def test_ci_runs_the_same_as_a_developer_and_says_that_it_is_ci():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    lines = [line for line in script.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "set -euo pipefail"
    assert lines[-2:] == ['export CI="${CI:-true}"', "exec make test"]


@pytest.mark.parametrize(
    "skips",
    [
        "import pytest\ndef test_a(): pytest.skip('no browser')\n",
        "import pytest\n@pytest.mark.skip(reason='later')\ndef test_a(): pass\n",
        "import pytest\npytest.skip('no browser', allow_module_level=True)\n",
        "import pytest\npytest.importorskip('no_such_module')\ndef test_a(): pass\n",
    ],
)
def test_in_ci_a_skipped_test_is_a_failed_one(tmp_path, skips):
    (tmp_path / "test_it.py").write_text(skips)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", tmp_path / "pytest.ini", tmp_path]
    as_developer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    in_ci = subprocess.run(
        [*command, "-p", "tests.support.nothing_skipped"], cwd=ROOT, capture_output=True, text=True
    )
    assert as_developer.returncode in {0, 5}, as_developer.stdout
    assert in_ci.returncode in {1, 2}, in_ci.stdout
    assert "in CI nothing may be" in in_ci.stdout


def test_a_worker_tells_what_it_skipped_and_what_it_measured(tmp_path):
    """As `make test` runs them: with `-n` the tests are in another process than the one that prints."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom tests.support.figures import measured\n"
        "def test_a(): measured('a walk', 3, 'km')\n"
        "def test_b(): pytest.skip('no browser')\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-n", "1", "-c", tmp_path / "pytest.ini", tmp_path]
    plugins = ["-p", "tests.conftest", "-p", "tests.support.nothing_skipped"]
    ran = subprocess.run([*command, *plugins], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 1, ran.stdout
    assert "in CI nothing may be" in ran.stdout
    assert "a walk: median 3 km, greatest 3 km of 1" in ran.stdout


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_is_built_of_things_that_are_there():
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE"}
    known |= {"STOPSIGNAL", "HEALTHCHECK", "CMD"}
    assert {name for name, _ in instructions()} <= known
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert source not in ignored, source
                assert (ROOT / source).exists() or source == "README.md", source


def test_the_image_runs_as_nobody_special_and_keeps_its_data_outside():
    final = instructions()[max(n for n, (name, _) in enumerate(instructions()) if name == "FROM") :]
    told = dict(final)
    assert told["USER"] not in {"root", "0"}
    assert told["VOLUME"] == "/data"
    assert "/healthz" in told["HEALTHCHECK"]
    assert json.loads(told["CMD"])[0] == "telementor"
    probe = json.loads(told["HEALTHCHECK"].partition("CMD ")[2])
    compile(probe[2], "HEALTHCHECK", "exec")
    variables = set(re.findall(r"TELEMENTOR_([A-Z_]+)=", told["ENV"]))
    from signaling.settings import Settings

    assert {variable.lower() for variable in variables} <= set(Settings.__struct_fields__)


# --------------------------------------------------------------------------------------------- the wheel


def test_the_wheel_holds_all_that_the_server_reads(tmp_path):
    """Code, scripts of the store, migrations, and the web client where the server looks for it."""
    dist = ROOT / "web_client" / "dist"
    assert (dist / "index.html").exists(), "the web client is not built: make setup"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-qq",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            ROOT,
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("telementor-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        str(file.relative_to(ROOT))
        for package in ("signaling", "rooms", "media", "web_client/dist")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert packed == expected
