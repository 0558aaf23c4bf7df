# title = "Weights of an averaged model: a prefix, and a counter"
# weights = "averaged"
