"""How biased judges are, measured on stored answers of known grade: `chorus eval --judges`.

`pairs` draws the pairs, `asking` has each judge compare them in both orders, `fit` estimates
effects with intervals, `summary` says what was found, `report` and `table` show it. Above: `cli`.
"""
