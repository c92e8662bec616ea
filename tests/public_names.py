"""The public names of dntk."""

# Every public name, by the package or module whose `__all__` it is in: a change of this list is a line in CHANGELOG.md.
PUBLIC = {
    "dntk": """
        MLP Bound Certificate DistilledGradients DistilledNTK DistilledNTKClassifier DistilledNTKRegressor Fit Ledger
        Model NTKOperator ProgressEvent Store StoreError StoredFeatures StoredKernel StoredShard TangentFeatureMap
        TangentFeatures Trajectory annotate annotations as_model attribution backends bridge certify checking distill
        load merge metrics ntk outputs plan points probabilities progress sketch solve spectrum tangent_features
        targets trajectory
    """,
    "dntk._progress": "ProgressEvent Task progress task",
    "dntk.archive": """
        Format StoreError Stored checksum collect collect_below collect_beside expanded fingerprint locked packed
        present read schema to_host unpacked write write_whole written_whole
    """,
    "dntk.attribution": """
        Attribution AttributionFit Explanation Functional LeftOut Losses Margins Ranking Smoother explain label_margins
        leave_one_out
    """,
    "dntk.backend": """
        GROUP Backend BackendEntry BackendStatus MemoryBackend PairingBackend StandardBackend backend_for_network
        backend_of backends by_images entries expand free_memory get_backend is_out_of_memory paired root_modules
        symmetric
    """,
    "dntk.certificates": """
        Bound Certificate FittedPredictor DroppedPoints Intervals Kind Span SpanCertificate StageError
        Threshold TraceEstimate all_angles certified_trace_loss certify distilled_eigenvalues
        eigenvalues_above eigenvalues_from_trace eigenvalues_near energy_error exact_eigenvalues
        excess_objective frobenius_norm frobenius_residual gaussian_probes hutch_plus_plus
        in_sample_error largest_angle leading_eigenvalues pointwise posterior_variance sampled_mean
        semidefinite_norm sketch_gains sketched_singular_values span_certificate
        spectral_norm spectrum_distance tangent_residual threshold total_distance trace_residual
        with_unsketched xtrace
    """,
    "dntk.distill": "data gradients",
    "dntk.distill.data": """
        Augmentation Balanced DataDistiller DataSelector DistilledData FarthestPoint FittedTargets FreeSupport
        GivenPoints Herding InputSelector KMeans KernelInducing LCMD LastLayer Leverage MaxDet OutputResidual Platt
        Provenance RPCholesky Random Selection SquaredError TangentResidual Wasserstein WeightedSupport fitted_targets
    """,
    "dntk.distill.gradients": """
        CoverageCurve CoverageGaps GradientDistiller Krylov LocalGlobal LocalGlobalChoice
        LocalGlobalDiagnosis LocalGlobalSearch LocalGlobalTrial LowRank Principal Solution
        StreamedFit StreamedGradients Streaming coverage_curve coverage_gaps low_rank
    """,
    "dntk.estimator": "DistilledNTK Fit Losses Query load",
    "dntk.features": """
        Neighbours PairedFeatures StoredFeatures TangentFeatures annotate annotations kept_features require_comparable
        require_features require_kernel_of tangent_features
    """,
    "dntk.gradient_blocks": "DenseBlock FactoredBlock GradientBlock IndexedBlock TiedBlock",
    "dntk.kernels": "NTKOperator StoredKernel ntk",
    "dntk.metrics": """
        Reliability accuracy brier_score calibration_error fidelity kendall_tau mean_squared_error
        negative_log_likelihood predicted_labels reliability
    """,
    "dntk.models": "MLP GradientForms InputDifferentiable Model ParameterForm Points Stateful as_model bridge points",
    "dntk.models.adapter": """
        PROBES After Followable Following Forward Framework Looks Memo OutputCount Passes call close evaluate examine
        followed in_order offsets_of outputs_alone refuse_forward require_array require_input
        require_outputs require_own_rows require_parameters require_shape showing size_of split stored_block total_size
    """,
    "dntk.outputs": """
        FeatureOutputs KernelOutputs Labelled SequenceModel TransformedModel functional labelled log_softmax loss margin
        sequence_log_likelihood sequence_loss token_log_likelihoods
    """,
    "dntk.plan": "Plan PlannedStage certify ntk tangent_features",
    "dntk.probabilities": "Link MonteCarlo Probit calibrated",
    "dntk.random": """
        WORDS_PER_COUNTER drawing_dtype integers_of moved nearby_signs nearby_words normals signs_of
        uniforms words
    """,
    "dntk.estimator.reporting": "",
    "dntk.report": "",
    "dntk.runs": "Configuration Outcome Prepared SUMMARY compared prepare read read_summary write_report",
    "dntk.sketch": """
        SRHT Gaussian Interval Kronecker LayerPlan Layout LayoutSketch Mask Mixed ParameterMatrix Rademacher
        Sketch SketchDiagnosis SketchError SketchPlan SparseSign TensorSketch automatic choose diagnose layout_of
        sketch_block sketch_blocks
    """,
    "dntk.sklearn": "DistilledNTKClassifier DistilledNTKRegressor TangentFeatureMap",
    "dntk.solve": """
        CGResult FeatureKernel FeatureProjection Functionals GaussianProcess GeneralisedCrossValidation
        IterativeFit Jitter Joint JointFit KFold KernelOperator KernelRidgeFit LargestWithin LeaveOneOut
        MarginalLikelihood MatrixKernel NormalEquations NormalSpectrum PerOutput Posterior Preconditioner
        RPCholeskyPreconditioner RandomizedNystrom Regression Relative RidgeChoice RidgeFit RidgePath Separate
        ShiftedCholesky SolveReport StreamedFit StreamedGCV accumulate expected_calibration_error
        gaussian_process interval_coverage iterative_ridge joint_ridge kernel_ridge negative_log_likelihood
        nystrom preconditioned_cg ridge ridge_out_of_core ridge_path same_span solve_statistics zarr_chunks
    """,
    "dntk.spectrum": """
        alignment condition_number coverage coverage_gap effective_dimension eigenpairs_holding eigenvalues
        largest_coverage leading_eigenpairs mean_eigenpairs truncation_rank
    """,
    "dntk.stores": """
        Cluster FAN Job Layout Made Shard Store StoreFolder StoredShard Wanted cluster_of made merge merged_in_tree
        require_store shard_of
    """,
    "dntk.targets": "one_hot",
    "dntk.trajectories": "Quantity Trajectory trajectory",
    "dntk.testing": """
        SPECTRA CheckFailure Destination FeatureCase Network Place build_features check_backend
        check_distiller check_model check_sketch host host64 models singular_values spectra tangent_features
    """,
}
