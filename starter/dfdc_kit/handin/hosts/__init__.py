"""Who carries a hand-in out: Kaggle by its own client, or a host that only writes down what it is asked."""
