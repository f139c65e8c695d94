raise AttributeError("'DataFrame' object has no attribute 'append'")
