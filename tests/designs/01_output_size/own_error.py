# title = "A ValueError of one's own, type hints, a decorator"
# %% output-size-solution
from functools import lru_cache


class KernelTooLarge(ValueError):
    """The kernel does not fit."""


@lru_cache(maxsize=None)
def conv_output_size(input_size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    room: int = input_size + 2 * padding - dilation * (kernel_size - 1) - 1
    if room < 0:
        raise KernelTooLarge(f"{room=}")
    return room // stride + 1


answer_output_size = 32
answer_same_padding = 4
