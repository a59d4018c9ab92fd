"""Arguments of the command, each checked before anything is computed."""

import argparse
from pathlib import Path

from skxsae._cli._methods import METHODS
from skxsae._cli._output import DEFAULT_OUT, check_out
from skxsae._validation import resolve_device
from skxsae._version import __version__

_MAX_SEED = 2**32 - 1
_ARRAY = "FILE.npy, FILE.npz:name, FILE.parquet, FOLDER or URL"

_DESCRIPTION = """\
Fit sparse autoencoders to two paired views, compare them on held-out pairs and show the
concepts that both views share. Without arguments: emoji as pictures and as words."""

_EPILOG = """\
methods:
  shared          one dictionary for both views
  iso_energy      the same, trained to give both members of a pair like codes
  group_sparse    the same, trained to give both members the same active latents
  separate        a dictionary for each view, latents in the order of training
  post_hoc        the same dictionaries, latents matched by how they fire together
  soft            the same, each code with its translation into the other view
  dense           control: no codes, the cosine of the embeddings
  reconstruction  control: the cosine of what the separate dictionaries rebuild

examples:
  python -m skxsae
  python -m skxsae --synthetic --out truth
  python -m skxsae --x images.npy --y captions.npz:text --groups image_of_caption.npy \\
      -k 16 --n-latents 1024 --out my-report

The output folder holds report.json (every number, with parameters and versions),
figure.png and the fitted models, to be loaded with skxsae.load."""


def parse_arguments(argv=None):
    """Namespace of checked arguments, and the parser, for errors found later."""
    parser = _make_parser()
    arguments = parser.parse_args(argv)
    _check_combination(parser, arguments)
    try:
        check_out(arguments.out, arguments.overwrite)
        resolve_device(arguments.device)
    except ValueError as error:
        parser.error(str(error))
    return arguments, parser


def _make_parser():
    """The parser of all options."""
    parser = argparse.ArgumentParser(
        prog="skxsae",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_data_options(parser.add_argument_group("data"))
    _add_method_options(parser.add_argument_group("methods"))
    _add_output_options(parser.add_argument_group("output"))
    parser.add_argument("--version", action="version", version=f"skxsae {__version__}")
    return parser


def _add_data_options(group):
    group.add_argument(
        "--synthetic",
        action="store_true",
        help="pairs with known concepts: adds the errors against the truth",
    )
    group.add_argument(
        "--x", metavar="FILE", help=f"first view, one embedding per row: {_ARRAY}"
    )
    group.add_argument(
        "--y", metavar="FILE", help="second view: row i is the partner of row i of --x"
    )
    group.add_argument(
        "--groups",
        metavar="FILE",
        help="id of what each row of --y belongs to, such as the image of a caption; "
        "if --x has one row per image, that row's number",
    )
    group.add_argument(
        "--test",
        metavar="FILE",
        help="mask of the rows of --y, or of --x, to hold out (default: a fifth of the "
        "groups, at random)",
    )
    group.add_argument(
        "--texts",
        metavar="FILE.txt",
        help="one line per row of --y, to print with the concepts",
    )


def _add_method_options(group):
    group.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help=f"which of {', '.join(METHODS)} (default: all)",
    )
    group.add_argument(
        "-k",
        type=_positive_int("-k"),
        metavar="INT",
        help="active latents per sample (default: 8 for emoji and --synthetic, else 32 "
        "or a sixteenth of the latents, whichever is smaller)",
    )
    group.add_argument(
        "--n-latents",
        type=_positive_int("--n-latents"),
        metavar="INT",
        help="latents of each view; a shared dictionary gets twice as many (default: "
        "256 for emoji and --synthetic, else by the number of rows)",
    )
    group.add_argument(
        "--max-iter",
        type=_positive_int("--max-iter"),
        metavar="INT",
        help="passes over the training rows (default: 50 for emoji, 40 for "
        "--synthetic, else by the number of rows)",
    )
    group.add_argument(
        "--seed", type=_seed, default=0, metavar="INT", help="default: 0"
    )
    group.add_argument(
        "--device", default="auto", help="torch device: auto (default), cpu or cuda"
    )


def _add_output_options(group):
    group.add_argument(
        "--out",
        type=Path,
        default=Path(DEFAULT_OUT),
        metavar="FOLDER",
        help=f"folder to write, new or empty (default: {DEFAULT_OUT})",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the folder of an earlier run",
    )


def _positive_int(option):
    """Converter of an option's value to an int of at least 1."""

    def convert(text):
        number = _to_int(text)
        if number is None or number < 1:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number of at least 1, such as {option} 16"
            )
        return number

    return convert


def _seed(text):
    """Converter to a seed that NumPy takes."""
    number = _to_int(text)
    if number is None or not 0 <= number <= _MAX_SEED:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from 0 to {_MAX_SEED}, such as --seed 0"
        )
    return number


def _to_int(text):
    """The int that a text spells, or None."""
    try:
        return int(text)
    except ValueError:
        return None


def _check_combination(parser, arguments):
    """Refuse options that contradict each other or the names of methods."""
    arguments.methods = _check_methods(parser, arguments.methods)
    given = [name for name in ("x", "y") if getattr(arguments, name) is not None]
    if arguments.synthetic and given:
        parser.error(
            f"--synthetic makes its own pairs, but --{given[0]} was given too: drop "
            "one of them"
        )
    if len(given) == 1:
        missing = "y" if given == ["x"] else "x"
        parser.error(
            f"--{given[0]} was given without --{missing}: give both views, --x FILE "
            "--y FILE, or neither for the emoji"
        )
    for name in ("groups", "test", "texts"):
        if getattr(arguments, name) is not None and not given:
            parser.error(
                f"--{name} describes your own arrays, but neither --x nor --y was "
                f"given: add --x FILE --y FILE, or drop --{name}"
            )
    k, n_latents = arguments.k, arguments.n_latents
    if k is not None and n_latents is not None and k > n_latents:
        parser.error(
            f"-k {k} is more than --n-latents {n_latents}: no more latents can be "
            "active than there are; lower -k or raise --n-latents"
        )


def _check_methods(parser, methods):
    """Names of methods in the order of the table, each once."""
    names = list(METHODS) if methods is None else ",".join(methods).split(",")
    for name in names:
        if name not in METHODS:
            parser.error(
                f"--methods: there is no method {name!r}; choose from "
                f"{', '.join(METHODS)}"
            )
    return [name for name in METHODS if name in names]
