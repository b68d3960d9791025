"""Export: trained encoders and mappers to ONNX graphs, with a parity report, in a bundle."""

from unbraid.export.bundle_heads import export_heads
from unbraid.export.bundle_writer import export_bundle, export_tower

__all__ = ["export_bundle", "export_heads", "export_tower"]
