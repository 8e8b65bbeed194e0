"""The specification's requirements that this version delivers.

`@pytest.mark.requirement("W6")` says which test holds one.

`test_requirements.py` checks both directions: no test names a requirement that does not exist, and
every delivered one has a test. A requirement that comes with a later issue is listed as such, so
that naming it is no mistake.
"""

DELIVERED = frozenset({
    "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11", "C12",
    "W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10", "W11", "W12", "W13",
    "L1", "L2", "L3", "L4", "L5", "D1", "D2", "D3", "D4",
    "I1", "I2", "I3", "I4", "I5",
    "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8",
    "K1", "K2", "K3", "K4", "K5", "M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "O1", "O2", "O3", "O4", "O5", "S1", "S2", "S3",
    "T1", "T2", "T3", "T4", "T5",
})  # fmt: skip

LATER: frozenset[str] = frozenset()
