"""Pretrained encoders of pictures, texts and sounds, as transformers."""

from skxsae.embedding._clap import CLAPAudioEncoder, CLAPTextEncoder
from skxsae.embedding._open_clip import OpenCLIPImageEncoder, OpenCLIPTextEncoder

__all__ = [
    "CLAPAudioEncoder",
    "CLAPTextEncoder",
    "OpenCLIPImageEncoder",
    "OpenCLIPTextEncoder",
]
