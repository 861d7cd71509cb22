"""A campaign: many networks measured on a target, batch by batch, from the store where they are there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from hardware.costs.cost import Cost
from hardware.energy.meter import Meter
from hardware.export.weights import random_weights
from hardware.measuring.energies import Windows, energy_key, measured_energy
from hardware.measuring.layers_json import canonical_json, layers_json, network_key
from hardware.measuring.measurement import Measurement, MeasurementKey
from hardware.measuring.protocol import Failure, Timing
from hardware.measuring.store import MeasurementStore
from hardware.runtimes.artifact import Artifact, Network
from hardware.target import Target
from search_spaces.graph import Graph
from search_spaces.layers import Layer

LOST_BATCHES = 2
"""After so many batches of which nothing came back, no further one is tried."""

Found = dict[MeasurementKey, Measurement | Failure]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a campaign gave, by the networks' names.

    Attributes:
      costs: the measured `latency_ms`.
      failures: why the others have none.
      energies: the measured `energy_mj`, where the target has a meter.
      energy_failures: why the others have none, though there is a meter.
    """

    costs: dict[str, Cost]
    failures: dict[str, Failure]
    energies: dict[str, Cost] = field(default_factory=dict)
    energy_failures: dict[str, Failure] = field(default_factory=dict)


def measure_networks(
    target: Target,
    networks: Mapping[str, Network],
    store: MeasurementStore,
    *,
    campaign: str,
    reuse: bool = True,
    reference_ms: float | None = None,
    windows: Windows | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """The measured costs of each network, from the store where they are there and from the target where not.

    Networks are timed in batches beside `reference_network()`. The reference's own time is stored with the first
    batch, and every later batch is brought to its scale: so a run that was killed goes on where it stood (at most one
    batch is lost), and times that were taken under different loads compare. Where the target has a meter, the energies
    of those that have a time are taken afterwards, one by one.

    A batch of which nothing comes back, as from a board that is gone, is told as failures; after two of them no
    further one is tried. What was measured is in the store: the same call again goes on from there.

    Args:
      target: has a runtime.
      networks: layers and weights by name. Two of equal layers are measured once.
      store: where rows are looked up and put.
      campaign: the name of this go. Repeating a measurement is measuring under another name without `reuse`.
      reuse: whether a row of any campaign will do; else only this campaign's rows count, and its scale is its own.
      reference_ms: another campaign's time of the reference network (`reference_time`), to whose scale all times are
        brought instead: so that two campaigns compare though the machine was slower during one of them.
      windows: how energies are taken where the target has a meter; None for the usual way.
      progress: called with (costs done, costs asked for): one of each network, or two where there is a meter.

    Returns:
      A cost for each name, its `std` the spread from round to round (`protocol.py`); or why there is none.

    Raises:
      ValueError: when the target has no runtime, its board cannot be asked what it is, its meter cannot be read, or
        batches were lost and there is not one time.
    """
    target.instruments()
    if target.meter is not None:
        target.meter.check()
    windows = windows or Windows()
    go = _Go(
        target=target,
        store=store,
        campaign=campaign,
        accepted=None if reuse else campaign,
        reference=target.key(reference_network()),
        reference_ms=reference_ms,
    )
    keys = {name: replace(go.reference, network=network_key(layers)) for name, (layers, _) in networks.items()}
    first = {key: name for name, key in reversed(keys.items())}  # of equal ones the first
    named = {key: networks[first[key]] for key in keys.values()}
    metered = {} if target.meter is None else {key: energy_key(key, target.meter, windows) for key in named}
    times: Found = {key: row for key in named if (row := go.stored(key))}
    energies: Found = {key: row for key, of in metered.items() if (row := go.stored(of))}

    def tell() -> None:
        if progress:
            each_done = sum((key in times) + (key in energies) for key in keys.values())
            progress(each_done, len(keys) * (2 if metered else 1))

    tell()
    missing, size, lost = [key for key in named if key not in times], target.instruments()[1].batch, []
    for begin in range(0, len(missing), size):
        batch = {key: named[key] for key in missing[begin : begin + size]}
        if len(lost) < LOST_BATCHES:
            found, why = go.timed(batch)
            lost += [why] if why else []
        else:
            reason = f"not measured, as {LOST_BATCHES} batches before it were lost ({lost[-1]}); run it again to go on"
            found = dict.fromkeys(batch, Failure(reason=reason))
        times |= found
        tell()
    if lost and not any(isinstance(each, Measurement) for each in times.values()):
        raise ValueError(lost[-1])
    for key, of in metered.items():
        if target.meter is not None and key not in energies:
            time = times[key]
            energies[key] = time if isinstance(time, Failure) else go.metered(of, named[key], target.meter, windows)
            tell()
    return Outcome(
        costs=_costs(target, keys, times),
        failures=_failures(keys, times),
        energies=_costs(target, keys, energies),
        energy_failures=_failures(keys, energies),
    )


@dataclass(frozen=True, kw_only=True)
class _Go:
    """One call of `measure_networks`.

    Attributes:
      accepted: the campaign whose rows count; None for any.
      reference: the key of the reference network.
      reference_ms: its time on the scale of another campaign, if that is asked for.
    """

    target: Target
    store: MeasurementStore
    campaign: str
    accepted: str | None
    reference: MeasurementKey
    reference_ms: float | None

    def stored(self, key: MeasurementKey) -> Measurement | None:
        """The row that counts, if it is there."""
        return self.store.get(key, self.accepted)

    def timed(self, networks: Mapping[MeasurementKey, Network]) -> tuple[Found, str | None]:
        """The times of one batch; and why it was lost, where nothing came back."""
        found: Found = {}
        artifacts: dict[MeasurementKey, Artifact] = {}
        for key, network in networks.items():
            try:
                artifacts[key] = self.target.prepare(network)
            except ValueError as error:
                found[key] = Failure(reason=str(error))
        if not artifacts:
            return found, None
        reference, protocol = reference_network(), self.target.instruments()[1]
        artifacts.setdefault(self.reference, self.target.prepare((reference, random_weights(reference))))
        scale = self.stored(self.reference)
        try:
            timings = self.target.bench().measure(
                {key.network: artifact for key, artifact in artifacts.items()},
                protocol,
                reference=self.reference.network,
                reference_ms=self.reference_ms or (scale.value if scale else None),
            )
            without = timings[self.reference.network]
            why = without.reason if isinstance(without, Failure) else None
        except ValueError as error:
            timings, why = {}, str(error)
        lost = Failure(reason=f"not measured: {why}")
        results = {key: timings.get(key.network, lost) for key in artifacts}
        layers = {self.reference: reference} | {key: network[0] for key, network in networks.items()}
        self.store.put(
            Measurement(
                key=key,
                campaign=self.campaign,
                value=timing.value_ms,
                std=timing.std_ms,
                samples=timing.samples_ms,
                layers=layers_json(layers[key]),
                settings=canonical_json(protocol.to_dict()),
                conditions=timing.conditions,
            )
            for key, timing in results.items()
            if isinstance(timing, Timing)
        )
        for key, timing in results.items():
            if key in networks:
                row = self.stored(key)  # another process may have been first
                found[key] = row or (timing if isinstance(timing, Failure) else lost)
        return found, why

    def metered(self, key: MeasurementKey, network: Network, meter: Meter, windows: Windows) -> Measurement | Failure:
        """The energy of one network."""
        try:
            call = self.target.instruments()[0].ready(self.target.prepare(network))
        except ValueError as error:
            return Failure(reason=str(error))
        text = layers_json(network[0])
        row = measured_energy(key, call, meter, windows, campaign=self.campaign, layers=text)
        if isinstance(row, Measurement):
            self.store.put([row])
        return self.stored(key) or row


def _costs(target: Target, keys: Mapping[str, MeasurementKey], found: Found) -> dict[str, Cost]:
    rows = {name: found[key] for name, key in keys.items() if key in found}
    return {
        name: Cost(name=row.metric, value=row.value, std=row.std, unit=row.unit, kind="measured", target=target.name)
        for name, row in rows.items()
        if isinstance(row, Measurement)
    }


def _failures(keys: Mapping[str, MeasurementKey], found: Found) -> dict[str, Failure]:
    rows = {name: found[key] for name, key in keys.items() if key in found}
    return {name: failure for name, failure in rows.items() if isinstance(failure, Failure)}


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
