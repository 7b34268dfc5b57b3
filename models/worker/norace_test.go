//go:build !race

package worker_test

const slow = false
