"""Sphinx settings. The build reads nothing from the network."""

import inspect
import os
import re
import shutil
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import skxsae

project = "skxsae"
author = "the skxsae developers"
copyright = "2026, the skxsae developers"
version = release = skxsae.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
    "mathml",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "auto_examples/*.ipynb", "examples"]
default_role = "py:obj"
# the References section of a docstring need not be cited in its text
suppress_warnings = ["ref.citation", "ref.footnote"]

autosummary_generate = True
numpydoc_show_class_members = False

plot_formats = [("svg", 100)]
plot_html_show_formats = False
plot_html_show_source_link = False

sphinx_gallery_conf = {
    "within_subsection_order": "FileNameSortKey",
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "abort_on_example_error": True,
    "copyfile_regex": r".*\.rst",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skxsae",),
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skxsae"
html_static_path = ["_static"]
html_css_files = ["skxsae.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "use_edit_page_button": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"changelog": [], "install": []}


def written_elsewhere(app, what, name, obj, skip, options):
    """Whether a member of a class comes from scikit-learn, whose pages describe it."""
    module = getattr(inspect.unwrap(obj), "__module__", None) or ""
    return True if callable(obj) and not module.startswith("skxsae") else None


def escape_trailing_underscores(app, what, name, obj, options, lines):
    """Keep ``n_latents_`` in the type of a parameter from being read as a link."""
    for i, line in enumerate(lines):
        if " : " in line:
            lines[i] = re.sub(r"(?<=\w)_(?=[,)])", r"\_", line)


def copy_explorer(app, exception):
    """Put the page that an example of the gallery wrote beside the other pages."""
    page = Path(__file__).parent / "examples" / "emoji_concepts.html"
    # a build without the gallery has none
    if exception is None and app.builder.format == "html" and page.exists():
        shutil.copy(page, app.outdir)


def setup(app):
    """Leave inherited methods out of the pages of classes, and mend types."""
    app.connect("build-finished", copy_explorer)
    app.connect("autodoc-skip-member", written_elsewhere)
    app.connect("autodoc-process-docstring", escape_trailing_underscores, priority=400)
