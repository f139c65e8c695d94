"""All that talks to Kaggle. Only here `kaggle` is imported: late, silenced, with timeouts and retries."""
