"""GEPO against DPO on held-out IR groups: `python -m bench.ir_ranking --groups GROUPS.jsonl --out DIR`.

A tiny Qwen3 is warmed up on source -> winner pairs of the training groups. From that one base, with equal updates on
equal groups in equal order, each *arm* goes on:

    likelihood    the same winners, by likelihood: a control that sees no loser
    dpo           the trainer with `gepo.loss = "dpo"`: the mean over a group's winner-loser pairs
    gepo          the trainer with `gepo.loss = "gepo"`
    dpo-matched   dpo with the settings that gepo chose

The first three have the settings that ranked best on validation groups, with seed 0; DPO and GEPO choose from one
grid. Held-out groups are seen by no choice. Groups are split by `dedup_cluster`: no program stands in two parts. A seed
decides initial weights, the order of the warm-up and the order of training; split and tokenizer are the same for all.
"""
