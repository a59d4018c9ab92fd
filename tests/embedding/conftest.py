import sys

import torch


def declare_operators_of_torchvision():
    """Declare the operators that a CUDA build of torchvision misses beside CPU torch.

    Without them `import open_clip` fails. They are never called.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return library


try:
    import torchvision  # noqa: F401
except ImportError:
    pass
except RuntimeError:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    LIBRARY = declare_operators_of_torchvision()  # gone when it is collected
