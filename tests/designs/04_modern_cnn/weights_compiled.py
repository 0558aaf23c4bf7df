# title = "Weights with the prefix of torch.compile"
# weights = "compiled"
