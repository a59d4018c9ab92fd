"""A module that is used in several threads at the same time."""

import threading

import pytest
import torch
from toy_encoders import ToyModel

from skxsae.embedding import _sharing
from skxsae.embedding._sharing import evaluating

TIMEOUT = 20


class Moved(ToyModel):
    """A module that remembers its devices instead of moving."""

    def __init__(self):
        super().__init__()
        self.moves = []

    def to(self, device):
        self.moves.append(str(device))
        return self


class Wrapper(torch.nn.Module):
    """A module that holds another."""

    def __init__(self, module):
        super().__init__()
        self.module = module


class Weights(torch.nn.Module):
    """A module that has only a tensor in common with another."""

    def __init__(self, module):
        super().__init__()
        self.scale = module.scale


@pytest.fixture(autouse=True)
def _nothing_is_left_in_use():
    yield
    assert _sharing._uses == []


def test_a_module_is_put_back():
    module = ToyModel().train()
    module.drop.eval()
    with evaluating(module, "cpu", restores=True):
        assert not module.training
    assert module.training
    assert not module.drop.training


def test_a_module_that_was_loaded_is_left_ready():
    module = Moved()
    with evaluating(module, "cuda", restores=False):
        pass
    assert module.moves == ["cuda"]
    assert not module.training


def test_the_last_user_puts_it_back():
    module = Moved()
    first, second = (evaluating(module, "cuda", restores=True) for _ in range(2))
    with first:
        second.__enter__()
        assert module.moves == ["cuda"]
    assert not module.training
    assert not module.drop.training
    assert module.moves == ["cuda"]
    second.__exit__(None, None, None)
    assert module.training
    assert module.drop.training
    assert module.moves == ["cuda", "cpu"]


def test_an_error_puts_it_back_and_lets_others_in():
    module = Moved()
    for _ in range(2):
        with (
            pytest.raises(RuntimeError, match="stop"),
            evaluating(module, "cuda", restores=True),
        ):
            raise RuntimeError("stop")
    assert module.training
    assert module.moves == ["cuda", "cpu"] * 2


def test_a_device_that_fails_leaves_it_as_it_was():
    class Refusing(Moved):
        def to(self, device):
            if device == "cuda":
                raise RuntimeError("no memory")
            return super().to(device)

    module = Refusing()
    for _ in range(2):
        with (
            pytest.raises(RuntimeError, match="no memory"),
            evaluating(module, "cuda", restores=False),
        ):
            pass
    assert module.training
    with evaluating(module, "cpu", restores=True):
        assert not module.training


@pytest.mark.parametrize(
    ("other", "device"),
    [(lambda module: module, "cuda"), (Wrapper, "cpu"), (Weights, "cpu")],
    ids=["device", "wrapper", "weights"],
)
def test_a_user_waits_for_what_would_disturb_another(other, device):
    module = Moved()
    waiting = other(module)
    waiting.to = module.to
    seen, is_in = [], threading.Event()

    def use():
        with evaluating(waiting, device, restores=True):
            is_in.set()
            seen.append(module.training or waiting.training)

    thread = threading.Thread(target=use, daemon=True)
    with evaluating(module, "cpu", restores=True):
        thread.start()
        assert not is_in.wait(0.2)
    thread.join(TIMEOUT)
    assert is_in.is_set()
    assert seen == [other is Weights]  # whose module is none of the parts
    assert module.training
    assert waiting.training
    assert module.moves == ["cpu", "cpu", device, "cpu"]


def test_modules_that_share_nothing_do_not_wait():
    with (
        evaluating(ToyModel(), "cpu", restores=True),
        evaluating(ToyModel(), "cpu", restores=True),
    ):
        assert len(_sharing._uses) == 2


def test_a_thread_does_not_wait_for_itself():
    part = torch.nn.Linear(2, 2)
    with evaluating(part, "cpu", restores=True):  # noqa: SIM117
        with pytest.raises(RuntimeError, match="Sequential is in use by this thread"):
            with evaluating(torch.nn.Sequential(part), "cpu", restores=True):
                pass
    assert _sharing._uses == []
