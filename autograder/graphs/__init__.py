"""A student's network as checked data: the graph, what can be read off it, and a runner of it."""
