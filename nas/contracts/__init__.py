"""What every space must keep, as functions: the tests check our spaces by them, `edgenas check` anyone's.

`CHOICES` need no network to run; `NETWORKS` begin with the one that the others wait for.
"""

from nas.contracts.choices import (
    a_later_option_never_costs_less,
    encodings_round_trip,
    it_is_a_space_with_still_settings,
    json_round_trips,
)
from nas.contracts.compiles import one_compile_serves_all, what_is_no_architecture_is_refused
from nas.contracts.contract import Contract
from nas.contracts.counts import (
    extracted_networks_have_no_mask,
    extracted_networks_hold_the_parameters_that_layers_say,
    extracted_networks_multiply_what_layers_say,
    the_compiler_counts_the_same,
    traced_networks_have_the_layers_that_the_space_writes,
)
from nas.contracts.gradients import (
    cut_networks_answer_and_learn_as_masked_ones,
    relaxed_architectures_have_gradients_for_every_choice,
)
from nas.contracts.graph import layers_follow_one_from_the_other
from nas.contracts.readings import (
    a_key_decides_the_parameters,
    a_population_runs_at_once,
    exported_networks_answer_as_masked_ones,
    extracted_networks_answer_as_masked_ones,
    genes_without_effect_change_nothing,
    logits_tell_architectures_and_images_apart,
    the_supernet_answers,
)
from nas.contracts.true_cost import sliced_networks_answer_and_learn_as_masked_ones

CHOICES: tuple[Contract, ...] = (
    it_is_a_space_with_still_settings,
    layers_follow_one_from_the_other,
    a_later_option_never_costs_less,
    encodings_round_trip,
    json_round_trips,
)

NETWORKS: tuple[Contract, ...] = (
    the_supernet_answers,
    a_key_decides_the_parameters,
    logits_tell_architectures_and_images_apart,
    genes_without_effect_change_nothing,
    what_is_no_architecture_is_refused,
    extracted_networks_answer_as_masked_ones,
    exported_networks_answer_as_masked_ones,
    extracted_networks_hold_the_parameters_that_layers_say,
    extracted_networks_multiply_what_layers_say,
    extracted_networks_have_no_mask,
    traced_networks_have_the_layers_that_the_space_writes,
    the_compiler_counts_the_same,
    a_population_runs_at_once,
    cut_networks_answer_and_learn_as_masked_ones,
    relaxed_architectures_have_gradients_for_every_choice,
    sliced_networks_answer_and_learn_as_masked_ones,
    one_compile_serves_all,
)

CONTRACTS: tuple[Contract, ...] = (*CHOICES, *NETWORKS)
