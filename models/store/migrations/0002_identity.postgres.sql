-- Which backend, cloud and project the rows come from: see models/identity.go.
CREATE TABLE identity (
	name TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
)
