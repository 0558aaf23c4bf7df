# title = "Parameters under other names"
# %% output-size-solution
def conv_output_size(n, k, s=1, p=0, d=1):
    if n + 2 * p < d * (k - 1) + 1:
        raise ValueError("does not fit")
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


answer_output_size = 32
answer_same_padding = 4
