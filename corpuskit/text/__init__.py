"""Characters: the stored text's normalisation, the shadow copy on which everything is measured, compiled kernels."""
