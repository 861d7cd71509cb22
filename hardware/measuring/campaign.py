"""A campaign: many networks measured on a target, batch by batch, from the store where they are there."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from hardware.costs.cost import Cost
from hardware.export.weights import random_images, random_weights
from hardware.measuring.bench import Failure
from hardware.measuring.store import Measurement, MeasurementKey, MeasurementStore
from hardware.runtimes.artifact import Artifact, Network
from hardware.target import Target
from search_spaces.graph import Graph
from search_spaces.layers import Layer


class Outcome(NamedTuple):
    """What a campaign gave.

    Attributes:
      costs: the measured costs, by the networks' names.
      failures: why the others have none.
    """

    costs: dict[str, Cost]
    failures: dict[str, Failure]


def measure_networks(
    target: Target,
    networks: Mapping[str, Network],
    store: MeasurementStore,
    *,
    campaign: str,
    reuse: bool = True,
    reference_ms: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """The measured `latency_ms` of each network, from the store where it is there and from the runtime where not.

    Networks are timed in batches beside `reference_network()`. The reference's own time is stored with the first
    batch, and every later batch is brought to its scale: so a run that was killed goes on where it stood (at most one
    batch is lost), and times that were taken under different loads compare.

    Args:
      target: has a runtime.
      networks: layers and weights by name. Two of equal layers are measured once.
      store: where rows are looked up and put, a batch at a time.
      campaign: the name of this go. Repeating a measurement is measuring under another name without `reuse`.
      reuse: whether a row of any campaign will do; else only this campaign's rows count, and its scale is its own.
      reference_ms: another campaign's time of the reference network (`reference_time`), to whose scale all times are
        brought instead: so that two campaigns compare though the machine was slower during one of them.
      progress: called with (networks done, networks asked for).

    Returns:
      A cost for each name, its `std` the spread from round to round (`protocol.py`); or why there is none.

    Raises:
      ValueError: when the target has no runtime, or nothing at all can be measured on it.
    """
    bench, protocol = target.bench(), target.instruments()[1]
    accepted = None if reuse else campaign
    reference = reference_network()
    reference_key = target.key(reference)
    keys = {name: target.key(layers) for name, (layers, _) in networks.items()}
    rows = {key: row for key in keys.values() if (row := store.get(key, accepted))}
    first_named = {key: name for name, key in reversed(keys.items())}
    missing = [key for key in dict.fromkeys(keys.values()) if key not in rows]
    failed: dict[MeasurementKey, Failure] = {}

    def report() -> None:
        if progress:
            progress(sum(key in rows or key in failed for key in keys.values()), len(keys))

    report()
    for begin in range(0, len(missing), protocol.batch):
        artifacts: dict[MeasurementKey, Artifact] = {}
        for key in missing[begin : begin + protocol.batch]:
            try:
                artifacts[key] = _prepared(target, networks[first_named[key]])
            except ValueError as error:
                failed[key] = Failure(reason=str(error))
        if artifacts:
            batch = list(artifacts)
            artifacts.setdefault(reference_key, _prepared(target, (reference, random_weights(reference))))
            results = bench.measure(
                {key.network: artifact for key, artifact in artifacts.items()},
                protocol,
                reference=reference_key.network,
                reference_ms=reference_ms or reference_time(target, store, accepted),
            )
            timings = {key: results[key.network] for key in artifacts}
            failed |= {key: found for key, found in timings.items() if isinstance(found, Failure)}
            store.put(
                Measurement(key=key, campaign=campaign, value=t.value_ms, std=t.std_ms, samples=t.samples_ms)
                for key, t in timings.items()
                if not isinstance(t, Failure)
            )
            rows |= {key: row for key in batch if (row := store.get(key, accepted))}
        report()
    costs = {
        name: Cost(
            name="latency_ms",
            value=rows[key].value,
            std=rows[key].std,
            unit=rows[key].unit,
            kind="measured",
            target=target.name,
        )
        for name, key in keys.items()
        if key in rows
    }
    return Outcome(costs, {name: failed[key] for name, key in keys.items() if key not in rows})


def reference_time(target: Target, store: MeasurementStore, campaign: str | None = None) -> float | None:
    """The stored time of the reference network, ms: of a campaign, or (None) the first ever; None if there is none."""
    row = store.get(target.key(reference_network()), campaign)
    return row.value if row else None


def reference_network() -> tuple[Layer, ...]:
    """The network that stands for the state of the machine: a convolution and two mobile blocks.

    Its layers must stay as they are: the times in every store are on its scale.
    """
    graph = Graph((32, 32, 3))
    x = graph.activation(graph.norm(graph.conv(0, 16, "stem", kernel=3, stride=2), "stem_norm", 1e-5), "relu")
    for block, stride in enumerate((2, 1)):
        path = f"block{block}"
        x = graph.activation(graph.norm(graph.conv(x, 96, f"{path}.expand"), f"{path}.expand_norm", 1e-5), "hard_swish")
        x = graph.depthwise(x, f"{path}.depthwise", kernel=5, stride=stride)
        x = graph.activation(graph.norm(x, f"{path}.depthwise_norm", 1e-5), "hard_swish")
        x = graph.norm(graph.conv(x, 32, f"{path}.project"), f"{path}.project_norm", 1e-5)
    graph.dense(graph.global_pool(x), 10, "classifier")
    return tuple(graph.layers)


def _prepared(target: Target, network: Network) -> Artifact:
    layers, weights = network
    runtime, _ = target.instruments()
    images = None if target.precision in ("fp32", "fp16") else random_images(layers)  # time doesn't hang on ranges
    return runtime.prepare(layers, weights, target.precision, images)
