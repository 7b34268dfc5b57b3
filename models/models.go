// Package models has the types and rules of the console: volumes, snapshots, servers,
// the operations on them, users and their sessions; what a valid name is, and which
// action is allowed when. It holds no database handle: package store keeps its types
// in tables. Its errors carry keys of the text catalog, never text.
package models

import (
	"time"

	"github.com/google/uuid"

	"blockconsole/models/backend"
)

// NewID returns a UUIDv7: unique, and sorted by time of creation.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// Micros converts the time t to Unix microseconds, as every table has it: both databases
// sort and compare it alike. The zero time is 0.
func Micros(t time.Time) int64 { return backend.Micros(t) }
