# title = "Counts the places one by one"
# %% output-size-solution
def conv_output_size(input_size, kernel_size, stride=1, padding=0, dilation=1):
    row = range(-padding, input_size + padding)
    reach = dilation * (kernel_size - 1)
    places = [start for start in row[::stride] if start + reach in row]
    if not places:
        raise ValueError(f"no place for a kernel that spans {reach + 1} pixels")
    return len(places)


answer_output_size = 32
answer_same_padding = 4
