def conv_output_size(input_size, kernel_size, stride=1, padding=0, dilation=1):
    """Return how many output pixels a convolution has along one axis, as an int.

    Raises ValueError where the (dilated) kernel does not fit into the padded input.
    """
    span = dilation * (kernel_size - 1) + 1  # pixels from the first weight to the last
    room = input_size + 2 * padding - span  # how far the kernel can move
    if room < 0:
        raise ValueError(f"the kernel spans {span} pixels, the padded input has only {input_size + 2 * padding}")
    return room // stride + 1  # whole steps, plus the place where it starts


# a) and b): assign your numbers to answer_output_size and answer_same_padding
raise NotImplementedError()
answer_output_size = 32  # (64 + 2*2 - 5) / 2 = 31.5, rounded down, plus 1
answer_same_padding = 4  # the kernel spans 2*(5 - 1) + 1 = 9 pixels; (9 - 1) / 2 on each side
