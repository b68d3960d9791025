"""A bundle as a folder of sentence-transformers' own modules (docs/sentence-transformers.md). Needs the extra `export`."""

from unbraid.stock_modules.stock_folder import StockFolder, export_stock_folder

__all__ = ["StockFolder", "export_stock_folder"]
