"""How a supernet is trained: all settings, checked once where they enter."""

from dataclasses import dataclass
from typing import Literal

from nas.data.dataset import Split
from nas.training.losses import Teacher
from nas.training.rules.protocol import Rule
from nas.training.rules.single_path import SinglePath


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the shared parameters are trained.

    Attributes:
      epochs: passes over the training images.
      batch: images a step; the images left over at the end of an epoch wait for the next.
      rule: which architectures a step trains, and from whom each learns.
      optimizer: `adamw`, or `sgd` with Nesterov's momentum.
      learning_rate: at its peak, after a linear rise over the first `warm_up` of all steps; then `schedule` holds.
      schedule: `cosine` and `linear` fall to zero, `constant` stays.
      warm_up: fraction of all steps.
      momentum: of `sgd`; AdamW has its own.
      weight_decay: decoupled in AdamW (arXiv:1711.05101); added to the gradient in SGD.
      clip_norm: largest norm of a step's gradient.
      keep_unsampled: parameters that no architecture of the step uses keep value and optimizer state; False lets
        momentum and decay move them.
      ema: decay of a moving average of the parameters, which is judged and searched in their place (it starts shorter:
        at most (1 + step) / (10 + step)); None is none.
      label_smoothing: probability mass spread over all classes.
      shift: each training image is moved by up to so many pixels in both directions.
      flip: mirrors half of the images left to right (not for digits and letters).
      mixup: alpha of mixup (arXiv:1710.09412); 0 is none.
      cutmix: alpha of CutMix (arXiv:1905.04899); 0 is none. With both, one by lot for each batch.
      teacher: a trained network that teaches beside the labels; None is none.
      execution: `masked` computes all and masks; `sliced` runs each architecture at its true cost and compiles block by
        block; `auto` takes what measurement says is sooner done.
      accumulate: parts that a step's images are taken in, one after the other: their gradients are averaged. Less
        memory; batch statistics are each part's own.
      dtype: `bfloat16` computes in it; parameters, their updates and norms' statistics stay float32.
      remat: activations inside a block are computed again for the gradient instead of kept: less memory, more time.
        Masked execution only.
      mesh: devices that share each batch, or `all`. Batch statistics are those of the whole batch.
      per_device: each device trains architectures of its own in the same step, on its share of the batch and with its
        share's own batch statistics (TuNAS, arXiv:2008.06120). Masked execution only.
      prefetch: batches made ready ahead by a thread; 0 makes each when it is wanted.
      bands_every: epochs between judging the smallest, the largest and some sampled networks as training goes; 0 never.
      checkpoint_every: epochs between checkpoints.
      checkpoint_steps: steps between further checkpoints inside an epoch; None makes none.
    """

    epochs: int = 26
    batch: int = 32
    rule: Rule = SinglePath()  # noqa: RUF009 - frozen
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 6e-3
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warm_up: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    keep_unsampled: bool = True
    ema: float | None = None
    label_smoothing: float = 0.1
    shift: int = 3
    flip: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    teacher: Teacher | None = None
    execution: Literal["auto", "masked", "sliced"] = "masked"
    accumulate: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    mesh: int | Literal["all"] = 1
    per_device: bool = False
    prefetch: int = 0
    bands_every: int = 0
    checkpoint_every: int = 5
    checkpoint_steps: int | None = None

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_words()
        for name, fits in (("remat", not self.remat), ("per_device", not self.per_device)):
            if self.execution == "sliced" and not fits:
                raise ValueError(
                    f"`training.{name}` is for masked execution, got execution=`sliced`; set training.execution=masked"
                )

    def _check_numbers(self) -> None:
        for name, least in (
            *(("epochs", 1), ("batch", 1), ("shift", 0), ("accumulate", 1), ("prefetch", 0)),
            *(("bands_every", 0), ("checkpoint_every", 1), ("checkpoint_steps", 1)),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"`training.{name}` must be at least {least}, got {value}")
        for name in ("learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`training.{name}` must be above 0, got {getattr(self, name)}")
        for name in ("warm_up", "label_smoothing", "momentum", "ema"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"`training.{name}` must be at least 0 and below 1, got {value}")
        for name in ("weight_decay", "mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ValueError(f"`training.{name}` must not be negative, got {getattr(self, name)}")

    def _check_words(self) -> None:
        for name, words in (
            ("optimizer", ("adamw", "sgd")),
            ("schedule", ("cosine", "linear", "constant")),
            ("execution", ("auto", "masked", "sliced")),
            ("dtype", ("float32", "bfloat16")),
        ):
            if getattr(self, name) not in words:
                raise ValueError(f"`training.{name}` must be one of {', '.join(words)}, got `{getattr(self, name)}`")
        if isinstance(self.mesh, str) and self.mesh != "all":
            raise ValueError(f"`training.mesh` must be a number of devices or `all`, got `{self.mesh}`")
        if isinstance(self.mesh, int) and self.mesh < 1:
            raise ValueError(f"`training.mesh` must be at least 1, got {self.mesh}")

    def steps_per_epoch(self, split: Split) -> int:
        """Full batches in one pass.

        Raises:
          ValueError: when there are fewer images than a batch.
        """
        if len(split.labels) < self.batch:
            raise ValueError(
                f"`training.batch` is {self.batch}, but there are only {len(split.labels)} training images;"
                f" did you mean training.batch={len(split.labels)}?"
            )
        return len(split.labels) // self.batch
