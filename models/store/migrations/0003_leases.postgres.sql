-- What only one console on a database does at a time, and who does it: see models/store/leader.go.
CREATE TABLE leases (
	name TEXT NOT NULL PRIMARY KEY,
	owner TEXT NOT NULL,
	until BIGINT NOT NULL
)
