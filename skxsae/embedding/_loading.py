"""Models, preprocessing and tokenizers of open_clip."""

import os


def _open_clip():
    """The package open_clip, or an error that names the extra to install."""
    try:
        import open_clip
    except ImportError as error:
        raise ImportError(
            "A model of open_clip requires the package open_clip_torch: "
            "pip install 'skxsae[clip]'."
        ) from error
    except RuntimeError as error:  # "operator torchvision::nms does not exist"
        raise ImportError(
            f"open_clip cannot be imported: {error}. torchvision fails like this if "
            "it is of another build than torch, one for CUDA and one for the CPU: "
            "install both from the same index."
        ) from error
    return open_clip


def load_module(model, pretrained, method):
    """A module that was given, once it has the method, or the one with this name."""
    if isinstance(model, str):
        return _load_pretrained(model, pretrained)
    if not callable(getattr(model, method, None)):
        raise ValueError(
            f"model is a {type(model).__name__} without a method {method}: give a name "
            "or a module that has one."
        )
    if pretrained is not None:
        raise ValueError(
            f"pretrained={pretrained!r} goes with the name of a model, but model is a "
            f"{type(model).__name__}: load its weights before."
        )
    return model


def _load_pretrained(model, pretrained):
    """The module with this name, with weights that somebody has trained."""
    open_clip = _open_clip()
    if _has_prefix(model):
        if pretrained is not None:
            raise ValueError(
                f"pretrained={pretrained!r} cannot be chosen for model={model!r}, "
                "which comes with its weights."
            )
        return open_clip.create_model(model, require_pretrained=True)
    name = _clean(model)
    if name not in open_clip.list_models():
        raise ValueError(
            f"model={model!r} is not among open_clip.list_models(). A repository of "
            "the Hugging Face hub is 'hf-hub:owner/name', a folder 'local-dir:path'."
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    is_tag = isinstance(pretrained, str) and open_clip.is_pretrained_cfg(
        name, pretrained
    )
    if pretrained is None or not (is_tag or os.path.isfile(pretrained)):
        raise ValueError(
            f"pretrained={pretrained!r} gives no weights for model={model!r}: choose "
            f"one of {tags}, or the file of a checkpoint."
        )
    tag = open_clip.get_pretrained_cfg(name, pretrained) if is_tag else {}
    return open_clip.create_model(
        model,
        os.fspath(pretrained),
        force_quick_gelu=tag.get("quick_gelu", False),
        require_pretrained=True,
    )


def _has_prefix(model):
    """Whether a name stands for a repository or a folder, which hold the weights."""
    return model.startswith(("hf-hub:", "local-dir:"))


def _clean(model):
    """Name of a model as open_clip lists it, "ViT-B-32" for "ViT-B/32"."""
    return model if _has_prefix(model) else model.replace("/", "-")


def preprocess_of(module):
    """What makes the input of a module that open_clip has made."""
    settings = getattr(getattr(module, "visual", None), "preprocess_cfg", None)
    if settings is None:
        raise ValueError(
            f"model is a {type(module).__name__} that does not say how pictures are "
            "preprocessed: set preprocess."
        )
    _open_clip()
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**settings), is_train=False)


def tokenizer_of(model):
    """The tokenizer of the model with this name."""
    if not isinstance(model, str):
        raise ValueError(
            f"model is a {type(model).__name__}, which does not say how texts become "
            "tokens: set tokenizer, such as open_clip.get_tokenizer(name)."
        )
    try:
        return _open_clip().get_tokenizer(_clean(model))
    except ModuleNotFoundError as error:
        raise ImportError(
            f"The tokenizer of model={model!r} requires {error.name}: "
            f"pip install {error.name}."
        ) from error
