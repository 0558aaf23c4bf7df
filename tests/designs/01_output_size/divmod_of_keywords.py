# title = "divmod, parameters by name only, with type hints"
# %% output-size-solution
def conv_output_size(input_size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    gaps = (kernel_size - 1) * (dilation - 1)
    steps, _ = divmod(input_size + padding + padding - kernel_size - gaps, stride)
    if steps < 0:
        raise ValueError("the kernel is larger than the padded input")
    return steps + 1


answer_output_size = 32
answer_same_padding = 4
