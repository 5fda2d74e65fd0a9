"""What `keras.ops.custom_gradient` calls, the same on every backend."""


def backward_inputs(args, upstream, inputs):
    """`(upstream, inputs)` for a gradient function declared as `gradient(*args, upstream=None)`.

    TensorFlow and JAX pass the upstream gradient alone and differentiate again through what the forward pass computed.
    PyTorch passes the saved inputs, and can differentiate again only what is computed from them: a gradient that is
    computed from the `inputs` returned here has right second derivatives on all three.

    Args:
        args: positional arguments of the gradient function.
        upstream: its keyword argument.
        inputs: tuple of the inputs of the forward pass.

    Returns:
        The upstream gradient, and a tuple of inputs: `inputs` itself, but on PyTorch, where it is differentiated again,
        other tensors.
    """
    if upstream is None:
        return args[0], inputs
    import torch

    if not torch.is_grad_enabled():
        return upstream, inputs
    return upstream, tuple(x.view_as(x) for x in args)  # `args` may be the very tensors of the forward pass
