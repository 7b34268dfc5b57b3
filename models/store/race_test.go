//go:build race

package store_test

// slow is true under the race detector: SQLite, which is Go here, is then twenty times slower,
// and tests with many combinations leave some out.
const slow = true
