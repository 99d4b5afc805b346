"""What the deciding tests share: a slow model of a quota, the recorded vectors, and makers of random input.

Nothing here reads the engine, the index or the kernel: the model follows the specification alone.
"""
