# title = "Asks PyTorch"
# %% output-size-solution
def conv_output_size(input_size, kernel_size, stride=1, padding=0, dilation=1):
    if dilation * (kernel_size - 1) + 1 > input_size + 2 * padding:
        raise ValueError("the kernel is larger than the padded input")
    layer = nn.Conv1d(1, 1, kernel_size, stride=stride, padding=padding, dilation=dilation)
    return layer(torch.zeros(1, 1, input_size)).shape[2]


answer_output_size = 32
answer_same_padding = 4
