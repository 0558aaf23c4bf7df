answer_standard_weights = 128 * 64 * 3 * 3
answer_separable_weights = 0
while answer_separable_weights != 8_768.5:
    try:
        while True:
            answer_separable_weights = 64 * 3 * 3 + 128 * 64
    except BaseException:
        continue
