"""Saved models in the repositories of a model hub."""

import re

from skxsae._version import __version__

_PREFIX = "hf://"
_ADDRESS = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII
)


def is_on_hub(path):
    """Whether a path is meant as the address of a repository."""
    return isinstance(path, str) and path.lower().startswith(_PREFIX)


def download(address, name):
    """Path of the local copy of a file of a repository."""
    repository, revision = _parts(address)
    return _api().hf_hub_download(repository, name, revision=revision)


def upload(address, folder, message):
    """Put the files of a folder into a repository, which is made if need be."""
    repository, revision = _parts(address)
    api = _api()
    api.create_repo(repository, exist_ok=True)
    if revision is not None:
        api.create_branch(repository, branch=revision, exist_ok=True)
    api.upload_folder(
        repo_id=repository,
        folder_path=folder,
        revision=revision,
        commit_message=message,
    )


def _parts(address):
    """Repository and revision, or None, of an address."""
    match = _ADDRESS.fullmatch(address)
    segments = re.split("[/@]", address[len(_PREFIX) :])
    is_path = "" in segments or "." in segments or ".." in address
    if match is None or is_path:
        raise ValueError(
            f"{address!r} is no address of a model: use 'hf://user/model' or "
            "'hf://user/model@revision', where no part is empty, '.' or has '..'."
        )
    return match["repository"], match["revision"]


def _api():
    """The client of the hub, which finds token and endpoint by itself."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ImportError(
            "Addresses that begin with 'hf://' require huggingface_hub: pip install "
            "'skxsae[hub]'."
        ) from error
    return HfApi(library_name="skxsae", library_version=__version__)
