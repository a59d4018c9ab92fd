import importlib
import inspect
import pkgutil
import tomllib
from pathlib import Path

import pytest
from numpydoc.validate import get_validation_checks, validate

import skxsae

ROOT = Path(__file__).parent.parent
CHECKS = get_validation_checks(
    set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
            "numpydoc_validation"
        ]["checks"]
    )
)


def public_modules():
    modules = [
        module.name
        for module in pkgutil.iter_modules(skxsae.__path__, prefix="skxsae.")
        if not module.name.rpartition(".")[2].startswith("_")
    ]
    return ["skxsae", *modules]


def public_objects():
    """Full name and object of every public class and function."""
    for name in public_modules():
        module = importlib.import_module(name)
        for member in module.__all__:
            obj = getattr(module, member)
            if inspect.isclass(obj) or inspect.isfunction(obj):
                yield f"{name}.{member}", obj


def public_methods():
    """Full name of every public method or property that is written here."""
    for name, obj in public_objects():
        if not inspect.isclass(obj):
            continue
        for member in dir(obj):
            value = getattr(obj, member)
            function = value.fget if isinstance(value, property) else value
            function = inspect.unwrap(function)
            written_here = getattr(function, "__module__", "") or ""
            if (
                not member.startswith("_")
                and callable(function)
                and written_here.startswith("skxsae")
            ):
                yield f"{name}.{member}"


OBJECTS = dict(public_objects())
METHODS = list(public_methods())


def test_the_walk_finds_what_is_public():
    names = ("datasets", "inspection", "metrics", "model_selection", "theory")
    assert {"skxsae", *(f"skxsae.{name}" for name in names)} <= set(public_modules())
    assert "skxsae.TopKSAE" in OBJECTS
    assert "skxsae.metrics.recall_at_k_score" in OBJECTS
    assert {"skxsae.TopKSAE.fit", "skxsae.TopKSAE.inverse_transform"} <= set(METHODS)
    assert "skxsae.TopKSAE.get_params" not in METHODS


@pytest.mark.parametrize("name", [*OBJECTS, *METHODS])
def test_docstring_is_valid_numpydoc(name):
    errors = [error for error in validate(name)["errors"] if error[0] in CHECKS]
    assert errors == []


@pytest.mark.parametrize("name", OBJECTS)
def test_docstring_has_an_example(name):
    doc = inspect.getdoc(OBJECTS[name])
    assert "\nExamples\n--------\n" in doc
    assert ">>> " in doc.partition("\nExamples\n")[2]


@pytest.mark.parametrize("module", public_modules())
def test_every_public_name_is_in_the_api_reference(module):
    listed = {line.strip() for line in (ROOT / "docs/api.rst").read_text().split("\n")}
    prefix = module.partition(".")[2]
    expected = {
        f"{prefix}.{name}".lstrip(".")
        for name in importlib.import_module(module).__all__
        if name != "__version__"
    }
    assert expected - listed == set()
