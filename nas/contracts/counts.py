"""An extracted network holds and multiplies what its layers say, and nothing elastic: parameters, MACs, no mask."""

import math
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hardware.export.weights import weight_shapes
from nas.contracts.case import Case
from nas.contracts.contract import ContractError, require
from search_spaces.extract import weights
from search_spaces.layers import total_macs, total_params
from search_spaces.named import named_kind
from search_spaces.reading import Cut
from search_spaces.trace.real_taps import total_macs_on_image
from search_spaces.trace.whole import trace

MASK_MAKERS = frozenset({"iota", "eq", "lt", "le", "gt", "ge", "select_n", "convert_element_type", "and"})


def extracted_networks_hold_the_parameters_that_layers_say(case: Case) -> None:
    """As many numbers, cut from as many of the supernet's, under the names and shapes that the layers give."""
    for i, arch in enumerate(case.archs):
        held = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(case.extracted[i].network, nnx.Param)))
        said = total_params(case.layers[i])
        mend = "write every layer with parameters in `layers`, with the cut channels, and let `cut` drop what is unused"
        require(held == said, f"the extracted network holds {held:,} parameters, `layers` say {said:,}", mend)
        sources = int(case.used(arch).sum())
        require(
            sources == held or (sources > held and may_be_transformed(case, arch)),
            f"{held:,} parameters of the extracted network are made of {sources:,} of the supernet",
            "let `cut` take slices of parameters, each number once",
        )
        found = {name: weight.shape for name, weight in weights(case.extracted[i]).items()}
        expected = weight_shapes(case.layers[i])
        if wrong := sorted(set(found) ^ set(expected)):
            where = (
                "`layers` say, but the network lacks" if wrong[0] in expected else "the network has, but no layer says"
            )
            raise ContractError(f"{where}, the weight `{wrong[0]}`", "give each layer the path of its parameters")
        for name, shape in expected.items():
            require(
                found[name] == shape,
                f"`{name}` has shape {found[name]}, `layers` say {shape}",
                "let `layers` and `cut` take the same channels and kernel",
            )


def may_be_transformed(case: Case, arch: np.ndarray) -> bool:
    """Whether all parameters that aren't slices of the supernet's stand in blocks that may transform them, each once.

    Those are blocks that a static choice shapes (grids are resized) and those with matrices for kernels. A number is
    known by its value: those of the supernet are drawn anew, all different.
    """
    rng = np.random.default_rng(3)
    marked = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), jax.device_get(case.supernet))
    read, static = Cut.of(case.space.choices, arch), {choice.name for choice in case.space.choices if choice.static}
    there = [(slot, block) for slot, block in zip(marked.slots, marked.blocks, strict=True) if slot.is_there(read)]
    for (slot, block), own in zip(there, marked.cut(read).blocks, strict=True):
        paths = (jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(block))
        shaped = any(choice in static for _, choice in slot.choices) or any("transforms" in path for path in paths)
        known = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(block)] or [np.zeros(0)])
        for leaf in jax.tree.leaves(own):
            is_slice = np.isin(leaf, known).all()
            if (not is_slice and not shaped) or (is_slice and np.unique(leaf).size != leaf.size):
                return False
    return True


def extracted_networks_multiply_what_layers_say(case: Case) -> None:
    """The multiply-accumulates of all products and convolutions are those of the layers."""
    for i in range(len(case.archs)):
        done, said = multiplied(jaxpr_of(case, i)), total_macs(case.layers[i])
        require(
            done == said,
            f"the extracted network multiplies {done:,} times for an image, `layers` say {said:,}",
            "let `cut` leave only what the architecture computes, and `layers` say its shapes, kernels and groups",
        )


def extracted_networks_have_no_mask(case: Case) -> None:
    """No choice and no mask is left in what an extracted network computes."""
    for i in range(len(case.archs)):
        found = sorted(MASK_MAKERS & primitives(jaxpr_of(case, i)))
        require(
            not found,
            f"an extracted network computes `{'`, `'.join(found)}`, of which masks are made",
            "decide in `cut`, not in the call; what is no mask goes into `search_spaces.named.named`",
        )


def jaxpr_of(case: Case, position: int) -> Any:
    """What the extracted network of an architecture computes for one image."""
    image = case.seen(case.archs[position], jnp.zeros((1, *case.shape)))
    return jax.make_jaxpr(lambda network, x: network(x))(case.extracted[position], image).jaxpr


def inner(equation: Any) -> list[Any]:
    """The jaxprs that an equation calls."""
    return [getattr(p, "jaxpr", p) for p in equation.params.values() if hasattr(getattr(p, "jaxpr", p), "eqns")]


def named_layer(equation: Any) -> tuple[str, dict[str, Any]]:
    """The kind and attributes of a layer function under its name, whatever it is made of; "" of anything else."""
    return named_kind(str(equation.params.get("name", ""))) or ("", {})


def is_depthwise(equation: Any) -> bool:
    """Whether it is our depthwise convolution: its second operand is the kernel, `[kernel, kernel, 1, channels]`."""
    return named_layer(equation)[0] == "Depthwise"


def multiplied(jaxpr: Any) -> int:
    """The multiply-accumulates of all matrix products and convolutions; inside of calls too."""
    total = 0
    for equation in jaxpr.eqns:
        out = math.prod(equation.outvars[0].aval.shape)
        shapes = [v.aval.shape for v in equation.invars]
        if is_depthwise(equation):
            total += out * shapes[1][0] * shapes[1][1]
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += out * math.prod(shapes[0][i] for i in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            outs = equation.params["dimension_numbers"].rhs_spec[0]
            total += out * math.prod(shapes[1]) // shapes[1][outs]  # the input channels are those of a group
        else:
            total += sum(map(multiplied, inner(equation)))
    return total


def primitives(jaxpr: Any) -> set[str]:
    """The names of all primitives outside of named layers; of other calls, custom gradients too, those inside."""
    names: set[str] = set()
    for equation in jaxpr.eqns:
        names.add(equation.primitive.name)
        if not named_layer(equation)[0]:
            names |= set().union(*map(primitives, inner(equation)))
    return names


def traced_networks_have_the_layers_that_the_space_writes(case: Case) -> None:
    """`trace` of the extracted network gives `space.layers(arch)`: kinds, order, inputs, shapes and paths."""
    for extracted, layers in zip(case.extracted, case.layers, strict=True):
        found = trace(extracted, layers[0].shape)
        mend = "write in `layers` what the network computes, in its order; or return `traced_layers(self, arch)` there"
        for position, (said, computed) in enumerate(zip(layers, found, strict=False)):
            require(said == computed, f"layer {position} is {computed}, but `layers` say {said}", mend)
        require(len(found) == len(layers), f"the network has {len(found)} layers, `layers` say {len(layers)}", mend)


def the_compiler_counts_the_same(case: Case) -> None:
    """XLA's cost analysis finds twice the multiply-accumulates of the taps that meet the image."""
    for i in case.some:
        said = 2 * total_macs_on_image(case.layers[i])
        done = product_flops(jaxpr_of(case, i))
        require(
            done == said,
            f"XLA counts {done:,} operations for an image, `layers` say twice {said // 2:,} multiply-accumulates",
            "let `layers` say strides, paddings, dilations and groups as the network has them",
        )


def product_flops(jaxpr: Any) -> int:
    """XLA's operations of all matrix products and convolutions."""
    total = 0
    for equation in jaxpr.eqns:
        operands = tuple((v.aval.shape, np.dtype(v.aval.dtype)) for v in equation.invars)
        if is_depthwise(equation):
            # Ours is written tap by tap: XLA is asked about one of its own of the same shape.
            total += flops(_depthwise(named_layer(equation)[1]["stride"]), *operands)
        elif equation.primitive.name in ("dot_general", "conv_general_dilated"):
            total += flops(_bound(equation.primitive, tuple(sorted(equation.params.items(), key=str))), *operands)
        else:
            total += sum(map(product_flops, inner(equation)))
    return total


@lru_cache(maxsize=16)
def _depthwise(stride: int) -> Any:
    def run(x: jax.Array, weight: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x,
            weight,
            (stride, stride),
            [(size // 2, size // 2) for size in weight.shape[:2]],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1],
        )

    return run


@lru_cache(maxsize=1024)
def _bound(primitive: Any, params: tuple[tuple[str, Any], ...]) -> Any:
    return lambda *operands: primitive.bind(*operands, **dict(params))


@lru_cache(maxsize=1024)
def flops(run: Any, *operands: tuple[tuple[int, ...], Any]) -> int:
    """XLA's operations of a function of arrays of these shapes and types."""
    lowered = jax.jit(run).lower(*(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in operands))
    analysis = lowered.cost_analysis() or {}
    return round(analysis.get("flops", 0))
