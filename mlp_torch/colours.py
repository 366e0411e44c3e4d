"""The colours and markers of every picture."""

# Okabe and Ito (2008), Color Universal Design: told apart with any colour vision. Yellow is left out,
# too pale for a line on white.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = "os^Dv*P"
