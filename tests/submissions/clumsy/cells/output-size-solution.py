def conv_output_size(input_size, kernel_size, stride=1, padding=0, dilation=1):
    room = input_size + 2 * padding - dilation * (kernel_size - 1) - 1
    if room < 0:
        raise ValueError("the kernel does not fit")
    return room // stride + 1

# a) and b)
answer_output_size = conv_output_size(64, 5, stride=2, padding=2)
answer_same_padding = 4
