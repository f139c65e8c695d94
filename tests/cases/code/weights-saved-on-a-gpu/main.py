raise RuntimeError("Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False.")
