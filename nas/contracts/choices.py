"""What holds of a space's choices and of the layers they lead to; no network runs."""

import numpy as np

from nas.contracts.case import Case
from nas.contracts.contract import ContractError, NotApplicable, require
from search_spaces.derived.encoding import from_one_hot, from_sequence, one_hot, sequence
from search_spaces.derived.serial import from_json, short_hash, to_json
from search_spaces.layers import total_macs, total_params
from search_spaces.space import Space, active, check_choices, option_counts, size


def it_is_a_space_with_still_settings(case: Case) -> None:
    """It has `choices` that fit together, `supernet` and `layers`, and is hashable: programs are kept by it."""
    require(
        isinstance(case.space, Space),
        f"`{type(case.space).__name__}` is no space",
        "give it `choices`, `supernet(key)` and `layers(arch)`",
    )
    still = "make it a frozen dataclass whose fields are numbers, text and tuples"
    try:
        hash(case.space)
    except TypeError as error:
        raise ContractError(f"it cannot be hashed ({error})", still) from error
    require(case.space == case.space, "it is not equal to itself", still)
    require(case.space.choices == case.space.choices, "`choices` differ each time they are asked for", still)
    try:
        check_choices(case.space.choices)
    except ValueError as error:
        raise ContractError(str(error), "mend the choices so") from error
    require(
        size(case.space) >= len(case.archs),
        f"it has {size(case.space)} networks, but {len(case.archs)} were drawn",
        still,
    )


def a_later_option_never_costs_less(case: Case) -> None:
    """Of ordered options the next has no fewer MACs or parameters; and every option with an effect changes layers."""
    if not case.space.choices:
        raise NotApplicable("it has no choices")
    counts = option_counts(case.space)
    for row in case.rows:
        layers = case.space.layers(row)
        awake = active(case.space, row)
        for gene in np.flatnonzero(row + 1 < counts):
            more = row.copy()
            more[gene] += 1
            dearer, choice = case.space.layers(more), case.space.choices[gene]
            step = f"`{choice.name}` from {choice.options[row[gene]]} to {choice.options[row[gene] + 1]}"
            for cost, total in (("MACs", total_macs), ("parameters", total_params)):
                before, after = total(layers), total(dearer)
                require(
                    after >= before or not choice.ordered,
                    f"{step} lowers {cost} from {before:,} to {after:,}",
                    "order its options by cost, or say `ordered=False` where no order does",
                )
            if awake[gene]:
                require(
                    dearer != layers,
                    f"{step} changes no layer, though it has an effect there",
                    "leave the choice out, or say in `requires` when it has one",
                )


def encodings_round_trip(case: Case) -> None:
    """One-hot rows and token sequences decode to the very rows that they were made of."""
    if not case.space.choices:
        raise NotApplicable("it has no choices")
    mend = "give each choice distinct options, and parents before those that require them"
    rows = np.concatenate([case.rows, np.stack(case.archs)])
    for name, back in (
        ("one-hot rows", from_one_hot(case.space, one_hot(case.space, rows))),
        ("token sequences", from_sequence(case.space, sequence(case.space, rows))),
    ):
        require(np.array_equal(back, rows), f"{name} decode to other architectures", mend)


def json_round_trips(case: Case) -> None:
    """JSON and the short hash say an architecture, by options of plain types, the same in every process."""
    mend = "let options be numbers, text, truth values or tuples of these"
    seen: dict[str, bytes] = {}
    for row in (*case.rows, *case.archs):
        text = to_json(case.space, row)
        require(
            np.array_equal(from_json(case.space, text), row), f"JSON reads back as another architecture: {text}", mend
        )
        require(
            seen.setdefault(short_hash(case.space, row), row.tobytes()) == row.tobytes(),
            "two architectures have one short hash",
            mend,
        )
    for choice in case.space.choices:
        for option in choice.options:
            require(
                " at 0x" not in repr(option),
                f"the option {option!r} of `{choice.name}` is written by its address, which changes",
                mend,
            )
