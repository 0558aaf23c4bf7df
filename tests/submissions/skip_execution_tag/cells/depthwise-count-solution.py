answer_standard_weights = 64 * 128
answer_separable_weights = 64 + 128
