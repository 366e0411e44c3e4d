"""The names that people give to parameters, x, y, losses and gradients, and to methods, in lower case."""

# fmt: off
# an argument that holds the parameters
PARAMETERS = (
    "p", "ps", "param", "params", "parameters", "theta", "thetas", "w", "ws", "weights", "model", "net",
    "network", "wts", "coefs", "beta", "state", "layers", "pars", "vars",
)
# an argument that is x
X = (
    "x", "xs", "inputs", "input", "data", "features", "x_train", "xtrain", "x_batch", "xb", "inp",
    "images", "feats",
)
# an argument that is y
Y = (
    "y", "ys", "t", "target", "targets", "labels", "label", "y_train", "ytrain", "y_batch", "yb",
    "y_true", "truth", "output_true", "expected",
)
# the options of a description, those of check_gradients
DESCRIPTION = (
    "layers", "activations", "loss", "reduction", "samples", "output_samples", "weight_layout",
    "ones_in_x", "l2", "l1", "sample_weight", "ascent", "output", "loss_value", "lr", "previous",
)
# numbers among the parameters that are no parameters, where they have no gradient
CONSTANTS = (
    "lr", "learning_rate", "reg", "lam", "lambda", "lambda_", "lmbda", "l2", "eps", "epsilon",
    "momentum", "dropout", "keep_prob", "decay", "n", "seed", "epochs", "batch_size", "step_size",
    "alpha",
)
# the loss in a result
LOSS = (
    "loss", "cost", "objective", "value", "error", "total_loss", "l", "j",
)
# the gradients in a result, or in an object
GRADIENTS = (
    "gradients", "grads", "gradient", "grad", "dparams", "d", "derivatives",
)
# the output in a result
OUTPUT = (
    "output", "outputs", "out", "y_hat", "yhat", "y_pred", "pred", "predictions", "probs", "scores",
    "logits",
)
# how a gradient is named after its parameter
STYLES = (
    "{}", "d{}", "d_{}", "grad_{}", "{}_grad", "g{}", "g_{}", "nabla_{}", "{}_gradient", "grad{}",
    "d{}_",
)
# the attribute of an object that holds its parameters
CONTAINERS = (
    "params", "parameters", "weights", "theta", "_params", "_parameters", "p",
)
# a method that gives a loss and gradients
GIVES = (
    "loss_and_gradients", "loss_and_grads", "loss_and_gradient", "loss_and_grad", "loss_gradients",
    "loss_grads", "loss_grad", "value_and_gradients", "value_and_grad", "compute_loss_and_gradients",
    "compute_loss_and_grads", "forward_backward", "loss", "backprop", "backpropagation", "backward",
    "gradients", "gradient", "compute_gradients", "grads", "cost",
)
# a method that is the forward pass
FORWARD = (
    "forward", "forward_pass", "forward_propagation", "forward_prop", "feedforward", "feed_forward",
    "predict", "__call__",
)
# a method that is the backward pass
BACKWARD = (
    "backward", "backward_pass", "backward_propagation", "backward_prop", "backprop", "backpropagate",
    "backpropagation", "back_prop", "gradients", "compute_gradients", "gradient", "grads",
)
# a method that gives the loss
LOSSES = (
    "loss", "compute_loss", "compute_cost", "cost", "calculate_loss", "loss_fn", "loss_function",
    "criterion", "get_loss", "calc_loss", "cost_function", "objective", "mse", "mse_loss",
    "cross_entropy", "cross_entropy_loss", "error",
)
# an argument that is the forward pass's output
OUT = (
    "out", "output", "outputs", "y_hat", "yhat", "y_pred", "ypred", "pred", "preds", "prediction",
    "predictions", "probs", "scores", "logits", "o", "a", "a2", "a3", "al", "p", "z",
)
# an argument that is the upstream gradient
UPSTREAM = (
    "dout", "d_out", "grad", "grad_output", "grad_out", "upstream", "delta", "dy", "dl", "dldy", "dz",
    "da", "dl_dy", "gradient", "g", "output_gradient", "d_output", "loss_grad", "error", "dscores",
)
# a keyword that says how much of a term there is: a default of 0 leaves it out
STRENGTHS = (
    "alpha", "beta", "decay", "dropout", "l1", "l2", "lam", "lambd", "lambda_", "lmbda", "reg", "reg_lambda",
    "regularization", "smoothing", "wd", "weight_decay",
)
# fmt: on
