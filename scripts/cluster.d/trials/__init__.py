"""`make cluster-test`: what becomes of requests and events while the cluster changes under load.

`load` sends events all the time and keeps what became of each, `judge` holds that against the stores at the end.
`rolling`, `killed`, `policies`, `secrets`, `scaling` and `validation` are the trials; `report` writes what they found."""
