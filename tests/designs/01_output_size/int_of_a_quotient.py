# title = "int() of a quotient"
# %% output-size-solution
def conv_output_size(input_size, kernel_size, stride=1, padding=0, dilation=1):
    if dilation * (kernel_size - 1) + 1 > input_size + 2 * padding:
        raise ValueError("the kernel is larger than the padded input")
    return int((input_size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1)


answer_output_size = 32
answer_same_padding = 4
