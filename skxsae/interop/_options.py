"""Options of other libraries: those that are heeded, and those without effect.

An option that is in neither list is refused: it may be one that was misspelt, or one
that changes codes.
"""


def check_known(config, known, whose):
    """Refuse options that would be ignored without being known to have no effect."""
    unknown = [repr(name) for name in config if name not in known]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)} is no option that is known of {whose}: correct it, "
            "or leave it out of the config if it changes neither codes nor "
            "reconstructions."
        )


def flag(config, name, default):
    """The value of an option that is on or off."""
    value = config.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} in the config must be True or False.")
    return value


def options_in(config, name):
    """Options that are themselves an option, none if it is not there."""
    options = config.get(name)
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ValueError(f"{name}={options!r} in the config must hold options.")
    return options


def _names(text):
    return frozenset(text.split())


SAELENS = _names("""
    activation_fn activation_fn_kwargs apply_b_dec_to_input architecture
    finetuning_scaling_factor hook_name k normalize_activations
    rescale_acts_by_decoder_norm reshape_activations
""")

# where the samples came from, how it was trained, and how that was logged
SAELENS_WITHOUT_EFFECT = _names("""
    act_store_device activations_mixing_fraction adam_beta1 adam_beta2 autocast
    autocast_lm aux_loss_coefficient b_dec_init_method cached_activations_path
    checkpoint_path compile_llm compile_sae context_size d_in d_sae dataset_path
    dataset_trust_remote_code dead_feature_threshold dead_feature_window
    decoder_heuristic_init decoder_heuristic_init_norm decoder_init_norm
    decoder_orthogonal_init device disable_concat_sequences dtype
    eval_batch_size_prompts eval_every_n_wandb_logs exclude_special_tokens
    expansion_factor feature_sampling_window finetuning_method finetuning_tokens
    from_pretrained_path hf_hook_name hook_eval hook_head_index hook_layer
    hook_point_eval hook_point_head_index hook_point_layer
    init_encoder_as_decoder_transpose
    is_dataset_tokenized jumprelu_bandwidth jumprelu_init_threshold
    jumprelu_sparsity_loss_mode jumprelu_ste_to_input jumprelu_tanh_scale
    l0_coefficient l0_warm_up_steps l1_coefficient l1_warm_up_steps llm_device
    llm_compilation_mode log_activations_store_to_wandb log_optimizer_state_to_wandb
    log_to_wandb log_weights_to_wandb logger lp_norm lr lr_decay_steps lr_end
    lr_scheduler_name lr_warm_up_steps metadata model_class_name
    model_from_pretrained_kwargs model_kwargs model_name mse_loss_normalization
    n_batches_for_norm_estimate n_batches_in_buffer n_checkpoints n_eval_batches
    n_restart_cycles neuronpedia neuronpedia_id noise_scale normalize_sae_decoder
    output_path pre_act_loss_coefficient prefetch_llm_batches prepend_bos resume
    resume_from_checkpoint run_name sae_compilation_mode sae_lens_training_version
    sae_lens_version save_final_checkpoint scale_sparsity_penalty_by_decoder_norm seed
    seqpos_slice sequence_separator_token store_batch_size_prompts streaming target_l0
    tokens_per_buffer train_batch_size_tokens training_tokens use_cached_activations
    use_chat_formatting use_ghost_grads use_sparse_activations verbose wandb_entity
    wandb_id wandb_log_frequency wandb_project
""")

DICTIONARY_LEARNING = {
    "AutoEncoder": frozenset(),
    "AutoEncoderNew": frozenset(),
    "AutoEncoderTopK": {"k"},
    "BatchTopKSAE": {"k"},
    "JumpReluAutoEncoder": {"apply_b_dec_to_input"},
    "MatryoshkaBatchTopKSAE": {"k"},
}

# of the trainer, and of the whole run beside it; norm_factor is in the weights already
DICTIONARY_LEARNING_WITHOUT_EFFECT = _names("""
    activation_dim anneal_end anneal_start auxk_alpha bandwidth buffer decay_start
    device dict_class dict_size group_fractions group_sizes group_weights k_anneal_steps
    l1_penalty layer lm_name lr n_sparsity_updates norm_factor p_end p_start
    resample_steps seed sparsity_function sparsity_penalty sparsity_queue_length
    sparsity_warmup_steps steps submodule_name target_l0 threshold_beta
    threshold_start_step top_k_aux trainer trainer_class wandb_name warmup_steps
""")

# arguments of all classes, and those of each
OVERCOMPLETE = _names("""
    class device dictionary_initializer dictionary_normalization dictionary_params
    encoder_module input_shape nb_concepts
""")
OVERCOMPLETE_OF_CLASS = {
    "BatchTopKSAE": _names("running_threshold threshold_momentum top_k"),
    "JumpSAE": _names("bandwidth bandwith kernel"),
    "MpSAE": _names("dropout k"),
    "SAE": frozenset(),
    "TopKSAE": _names("top_k"),
}
OVERCOMPLETE_DICTIONARY = _names("device initializer normalization use_multiplier")
