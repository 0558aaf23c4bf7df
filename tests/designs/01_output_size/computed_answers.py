# title = "Answers computed by the function, in a float and a tensor"
# %% output-size-solution
def conv_output_size(input_size, kernel_size, stride=1, padding=0, dilation=1):
    effective = (kernel_size - 1) * dilation + 1
    padded = input_size + padding * 2
    if effective > padded:
        raise ValueError(f"kernel {effective} > input {padded}")
    steps, rest = divmod(padded - effective, stride)
    return steps + 1


answer_output_size = torch.tensor(conv_output_size(64, 5, 2, 2))
answer_same_padding = 2 * (5 - 1) / 2
