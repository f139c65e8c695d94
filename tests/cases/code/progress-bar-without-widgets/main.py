raise ImportError("IProgress not found. Please update jupyter and ipywidgets.")
