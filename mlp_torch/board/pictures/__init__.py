"""The pictures of a run: functions of arrays and names, one figure each.

A picture is 640 pixels wide and read at half of that too, in a card of TensorBoard's: few, large words.
"""
