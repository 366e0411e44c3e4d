"""What the estimators learn here."""

from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split

DIGITS = train_test_split(*load_digits(return_X_y=True), random_state=0, test_size=0.25)
MOONS = make_moons(400, noise=0.2, random_state=0)
