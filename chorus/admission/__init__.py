"""Who may go on, who waits, and who is turned away (K2). Above: `snapshot` gives each model its gate, `service` has one for all.
Below: nothing; `queue` decides without waiting, `gate` waits."""
