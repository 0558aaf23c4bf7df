# title = "The length of a range"
# %% output-size-solution
def conv_output_size(input_size, kernel_size, stride=1, padding=0, dilation=1):
    free = input_size + 2 * padding - dilation * (kernel_size - 1)
    if free < 1:
        raise ValueError
    return len(range(0, free, stride))


answer_output_size = 32
answer_same_padding = 4
