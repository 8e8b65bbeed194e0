"""Whether a workflow is worth its calls, on the user's own questions: `chorus eval`.

`dataset` reads the questions, `grading` and `judging` grade answers, `runner` asks every contestant
and keeps what came in a file that a later run goes on from, `summary` counts, `report` shows.
`judges/` measures judges on what is stored.
Above: `cli`. Below: `service` answers.
"""
