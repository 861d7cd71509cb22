"""Everything a training step changes, and what it is known by when it goes on."""

from typing import Any, NamedTuple

from jaxtyping import Float, Int, UInt


class TrainState(NamedTuple):
    """Everything a step changes; with the settings, all that a training needs to go on.

    Training rules and the order of the images follow from the key and the step: they have no state of their own.

    Attributes:
      params: the supernet's parameters (`nnx.State`), float32.
      optimizer: what optax keeps, in the parameters' shapes.
      step: steps taken, which is also the position in the data.
      ema: the moving average of the parameters; None where it is off.
      loss: sum of the losses of this epoch's steps so far.
      key: data of the key that the training runs on; zeros before the first step.
    """

    params: Any
    optimizer: Any
    step: Int[Any, ""]
    ema: Any
    loss: Float[Any, ""]
    key: UInt[Any, " words"]
