// Package models has what the console knows, and the rules about it: volumes,
// snapshots, servers, the operations under way on them, users and their sessions;
// names, statuses, and what is allowed. It holds no database handle; package
// store keeps its types in tables. Its errors carry keys of the text catalog,
// never text.
package models

import (
	"blockconsole/models/backend"
	"time"

	"github.com/google/uuid"
)

// NewID returns a UUIDv7: unique, and in order of creation.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// Micros is a time as every table keeps it: microseconds of Unix time, UTC. Both
// databases sort and compare it alike.
func Micros(t time.Time) int64 {
	return backend.Micros(t)
}
