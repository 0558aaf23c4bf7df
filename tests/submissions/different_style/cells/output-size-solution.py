from math import floor

import numpy as np

answer_output_size = np.int64(floor((64 - 5 + 2 * 2) / 2 + 1))
answer_same_padding = torch.tensor((2 * (5 - 1)) // 2)


def conv_output_size(input_size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    positions = range(-padding, input_size + padding - dilation * (kernel_size - 1), stride)
    if not positions:
        raise ValueError(f"no position for a kernel of {kernel_size}")
    return len(positions)
