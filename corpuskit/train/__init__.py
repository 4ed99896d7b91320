"""The FSDP pretraining runner. Only this folder imports torch; it reads the order of windows from corpuskit.mix."""
