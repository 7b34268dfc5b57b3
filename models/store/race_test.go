//go:build race

package store_test

// slow says that the race detector runs: SQLite, which is Go here, is then twenty
// times slower, and tests that only repeat themselves do so less often.
const slow = true
