# title = "Weights under another name, in a folder"
# weights = "in a folder"
