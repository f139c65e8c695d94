"""The one seam to the `kaggle` package: imported late, silent, never without a timeout, its faults as sentences."""

from dfdc_kit.kaggle.client import Kaggle, connect

__all__ = ["Kaggle", "connect"]
