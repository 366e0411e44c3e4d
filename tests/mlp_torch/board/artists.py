"""What a figure's artists say: titles, texts, and that it can be drawn."""

SQUARE = [f"pixel_{i}_{j}" for i in range(4) for j in range(4)]


def titles(figure):
    return [axes.get_title() or axes.get_title("left") for axes in figure.axes]


def texts(axes):
    return [t.get_text() for t in axes.texts]


def drawn(figure):
    """The figure, after it was drawn: a warning would be an error."""
    figure.draw_without_rendering()
    return figure
