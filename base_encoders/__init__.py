"""Base encoders: backbone, pooling and projection that turn an item into a 512-d base vector (torch)."""

from unbraid.base_encoders.image_encoder import ImageEncoder
from unbraid.base_encoders.text_encoder import TextEncoder

__all__ = ["ImageEncoder", "TextEncoder"]
