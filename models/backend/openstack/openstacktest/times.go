package openstacktest

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// zulu is a time as Keystone writes it.
func zulu(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// naive is a time as Cinder writes it: UTC, and not saying so; null when zero.
func naive(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000")
}

// internalHost is another name of the loopback address.
func internalHost(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }

// endpointID is stable over the life of a cloud.
func (c *Cloud) endpointID(of string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(of)) // never fails
	return fmt.Sprintf("%016x%016x", h.Sum64(), mix(h.Sum64()))
}
