"""All that talks to Kaggle. Only here `kaggle` is imported: late, silenced, with timeouts and retries."""

from dfdc_kit.kaggle.client import Kaggle, connect

__all__ = ["Kaggle", "connect"]
