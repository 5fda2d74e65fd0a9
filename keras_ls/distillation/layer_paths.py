"""Layers of a model by their names, through nested models."""

import difflib

import keras


def find_layer(model, path):
    """The layer of `model` at `path`: names from the model down, "encoder/block_2/conv", or the end of that.

    The end is enough where one layer alone has it, so that a bare name finds a layer in a nested model.

    Raises:
        ValueError: for no such layer, naming the nearest paths, and for several.
    """
    layers = list(_paths(model))
    named = [(p, layer) for p, layer in layers if p == path]
    named = named or [(p, layer) for p, layer in layers if p.endswith(f"/{path}")]
    if len({id(layer) for _, layer in named}) == 1:
        return named[0][1]
    if named:
        raise ValueError(
            f"Expected a path to one layer of {model.name!r}. Received: {path!r}, which are "
            f"{', '.join(sorted(repr(p) for p, _ in named))}. Give more of the path."
        )
    paths = [p for p, _ in layers]
    near = difflib.get_close_matches(path, paths, n=3, cutoff=0.5)
    ends = {p.rsplit("/", 1)[-1]: p for p in paths}
    near += [ends[n] for n in difflib.get_close_matches(path.rsplit("/", 1)[-1], ends, n=3) if ends[n] not in near]
    raise ValueError(
        f"Expected the name of a layer of {model.name!r}, or a path through nested models such as "
        f"'encoder/block_2/conv'. Received: {path!r}. "
        + (f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Its layers: {', '.join(map(repr, paths))}.")
    )


def _paths(layer, prefix="", above=()):
    """(path, layer) of everything inside `layer` that runs in its forward pass."""
    inside = layer.layers if isinstance(layer, keras.Model) else layer._flatten_layers(False, recursive=False)
    for child in inside:
        if isinstance(child, keras.layers.InputLayer) or any(child is one for one in above):
            continue
        yield prefix + child.name, child
        yield from _paths(child, f"{prefix}{child.name}/", (*above, layer))
