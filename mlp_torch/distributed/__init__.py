"""N processes like one: `torchrun --nproc-per-node=N -m mlp_torch train …`, and what stands behind it.

Rank 0 runs the command as one process does; it alone prints and writes. The others follow (`follow`): they
are told each part of an epoch, and take their shares of its batches (`engine`, `shares`).
"""
