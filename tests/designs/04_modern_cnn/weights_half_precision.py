# title = "Weights handed in as float16"
# weights = "half precision"
