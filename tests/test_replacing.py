import os
import stat

import pytest

from skxsae._replacing import replacing


def test_a_file_is_written_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "page.html"
    for content in ("first", "second"):
        with replacing(path) as unfinished:
            unfinished.write_text(content)
            assert unfinished.parent == tmp_path
        assert path.read_text() == content
    assert os.listdir(tmp_path) == ["page.html"]


def test_what_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as unfinished:  # noqa: PT012
        unfinished.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
def test_the_mode_is_that_of_a_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "replaced"):
        pass
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("plain", "replaced")]
    assert modes[0] == modes[1]


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
def test_a_private_file_stays_private(tmp_path):
    path = tmp_path / "codes.jsonl"
    path.touch(mode=0o600)
    path.chmod(0o600)
    with replacing(path) as unfinished:
        unfinished.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_what_a_link_leads_to_is_replaced(tmp_path):
    (tmp_path / "page.html").write_text("old")
    link = tmp_path / "latest.html"
    link.symlink_to("page.html")
    with replacing(link) as unfinished:
        unfinished.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "page.html").read_text() == "new"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):  # noqa: SIM117
        with replacing(tmp_path / "nowhere" / "page.html"):
            pass


def test_a_place_for_no_file_is_told_by_the_path_that_was_given(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "lost").symlink_to("nowhere/page.html")
    before = sorted(tmp_path.iterdir())
    for name, kind, message in [
        ("folder", IsADirectoryError, "is a folder"),
        ("nowhere/page.html", FileNotFoundError, r"no folder \S*nowhere\.$"),
        ("lost", FileNotFoundError, r"no folder \S*nowhere\.$"),
        ("file/page.html", NotADirectoryError, "file is a file"),
        ("a" * 250, OSError, "too long"),
    ]:
        with pytest.raises(kind, match=message) as caught:  # noqa: SIM117
            with replacing(tmp_path / name):
                pass
        assert str(tmp_path / name) in str(caught.value)
        assert ".part" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
