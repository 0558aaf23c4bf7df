everything = []
while True:
    everything.append(bytearray(b"x" * 200_000_000))
