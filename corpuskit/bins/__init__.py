"""Memmap token files: the format with its writer and reader, and the stage that fills them."""
