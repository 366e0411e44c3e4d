"""The pictures of a run: functions of arrays and names, one figure each.

A picture is 480 pixels wide, and is read in a card of TensorBoard's too, which shows 200 to 350 of them by
leaving the others out: few, large words, and no thin lines. Saved to a file it is finer.
"""
