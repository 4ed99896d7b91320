"""The stages in their order, on a workspace or on foreign files. No step knows another; they meet here.

raw/        what was fetched                      mirrors of the hosts' paths, each file with its receipt
split/      streams cut into parts                (CC-100)
clean/      documents, signals, cut, ...          per language
decide/     verdicts, rows                        per language
dedup/      signatures, clusters, kept, removed   per language
corpus/     kept, findings                        per language: the corpus
tokenizer/  tokenizer.model
bins/       token bins and manifest               per language
mix/        mixture.json
train/      runs
report/     funnel.json, index.html
"""
