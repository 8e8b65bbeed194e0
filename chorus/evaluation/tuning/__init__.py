"""Which panel of models to serve, from the stored answers of one evaluation: `chorus tune`.

`reading` turns the folder of `chorus eval` into `evidence`; `panels` lists what could be served;
`replay` tells when a panel would have gone on, `judge_model` which answer its judge would have
chosen, `scoring` what each question would have given; `choosing` compares on held-out questions,
`race` says which new verdicts are worth their calls; `table`, `report` and `writing` show the
outcome.
"""
