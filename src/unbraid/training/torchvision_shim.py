"""Make `import torchvision` work when its compiled operators do not match the torch beside it.

A CUDA build of torchvision next to a CPU build of torch fails with "operator torchvision::nms does not exist",
and takes timm, open_clip, sentence-transformers and even `from transformers import BertModel` with it. Nothing
here uses those operators, so declaring their names is enough.
"""

import importlib
import sys

_declared = None  # torch drops the operators when the Library object is collected


def ensure_torchvision() -> str:
    """Import torchvision, declaring its missing operators if need be; call before transformers, timm or open_clip.

    Returns "native", "shimmed" or "absent". Raises RuntimeError when torchvision fails for another reason.
    """
    global _declared
    try:
        importlib.import_module("torchvision")
        return "native" if _declared is None else "shimmed"
    except ImportError:
        return "absent"
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    import torch

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        _declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    importlib.import_module("torchvision")
    return "shimmed"
