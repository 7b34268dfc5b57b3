//go:build !race

package models_test

const slow = false
