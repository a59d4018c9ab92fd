"""Modules that several encoders use at the same time, in threads."""

import threading
from contextlib import contextmanager


class _Use:
    """A module in use, its users, and how it was before the first of them came."""

    def __init__(self, module, device):
        self.module, self.device = module, device
        self.threads: list[int] = []  # one for each user
        parts = list(module.modules())
        tensors = [*module.parameters(), *module.buffers()]
        self.ids = {id(each) for each in (*parts, *tensors)}
        self._training = [(part, part.training) for part in parts]
        self._home = tensors[0].device if tensors else None

    def restore(self):
        """Put the module back into its mode and on its device."""
        for part, flag in self._training:
            part.training = flag
        if self._home is not None:
            self.module.to(self._home)

    def excludes(self, other):
        """Whether another use must wait until this one is over."""
        if self.module is other.module:
            return self.device != other.device
        return not self.ids.isdisjoint(other.ids)


_uses: list[_Use] = []  # one of each module
_changed = threading.Condition()


@contextmanager
def evaluating(module, device, restores):
    """Evaluation mode on a device, for all users of a module at the same time.

    The last of them leaves it as the first found it if it `restores`. A user waits
    while the module is in use on another device, or a part of it in another module.
    """
    use = _enter(module, device)
    try:
        yield
    finally:
        _leave(use, restores)


def _enter(module, device):
    """The use of a module, with one more user, as soon as no other excludes it."""
    this_thread = threading.get_ident()
    with _changed:
        while True:
            # made anew after each wait: the mode and the device may have changed
            use = _Use(module, device)
            in_the_way = [other for other in _uses if other.excludes(use)]
            if not in_the_way:
                break
            if any(this_thread in other.threads for other in in_the_way):
                raise RuntimeError(
                    f"A {type(module).__name__} is in use by this thread already, on "
                    "another device or as a part of another module."
                )
            _changed.wait()
        use = next((other for other in _uses if other.module is module), use)
        if not use.threads:
            try:
                module.eval().to(device)
            except BaseException:
                use.restore()
                raise
            _uses.append(use)
        use.threads.append(this_thread)
        return use


def _leave(use, restores):
    """Take a user away; the last one restores the module."""
    with _changed:
        use.threads.remove(threading.get_ident())
        if use.threads:
            return
        _uses.remove(use)
        try:
            if restores:
                use.restore()
        finally:
            _changed.notify_all()
