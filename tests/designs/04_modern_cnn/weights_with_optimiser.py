# title = "Weights in a dict with the epoch, the loss and the optimiser's state"
# weights = "with optimiser"
