"""scikit-learn's MLPClassifier and MLPRegressor, trained by the engines of `mlp train`."""
