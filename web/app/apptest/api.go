package apptest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/views"
)

// Accepted is what a program is told of a click that was accepted.
type Accepted struct {
	Operation string
	ID        string // of the object
	URL       string // of the operation
}

// WantAccepted decodes a 202, which the test fails without.
func WantAccepted(t testing.TB, a Answer) Accepted {
	t.Helper()
	WantStatus(t, a, http.StatusAccepted)
	var accepted Accepted
	decode(t, a, &accepted)
	if accepted.Operation == "" || accepted.ID == "" || accepted.URL != "/activity/"+accepted.Operation || a.Header.Get("Location") != accepted.URL {
		t.Fatalf("accepted %s, Location %s", a.Body, a.Header.Get("Location"))
	}
	return accepted
}

// Problem is what a program is told of a request that was not carried out.
type Problem struct {
	Code, Message string
	Fields        map[string]string
	RequestID     string `json:"request_id"`
}

// WantProblem decodes an error with this status.
func WantProblem(t testing.TB, a Answer, status int) Problem {
	t.Helper()
	WantStatus(t, a, status)
	var body struct{ Error Problem }
	decode(t, a, &body)
	if body.Error.Code == "" || body.Error.Message == "" || body.Error.Fields == nil || body.Error.RequestID != a.Header.Get("X-Request-Id") {
		t.Errorf("the error says %s", a.Body)
	}
	return body.Error
}

func decode(t testing.TB, a Answer, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Body), into); err != nil {
		t.Fatalf("%s %s: %s: %v in %s", a.Request.Method, a.Request.URL.Path, a.Status, err, a.Body)
	}
}

// Read decodes the JSON of a page that has to be there.
func (c *Client) Read(path string, into any) {
	c.t.Helper()
	a := c.Get(path, "Accept", "application/json")
	WantStatus(c.t, a, http.StatusOK)
	decode(c.t, a, into)
}

// ReadAll reads a list from its first page to its last.
func ReadAll[T any](c *Client, path string) []T {
	c.t.Helper()
	var items []T
	for path != "" {
		var page struct {
			Items []T
			Next  string
		}
		c.Read(path, &page)
		items, path = append(items, page.Items...), page.Next
	}
	return items
}

// Ask posts a form of pairs that has to be accepted.
func (c *Client) Ask(path string, pairs ...string) Accepted {
	c.t.Helper()
	return WantAccepted(c.t, c.Post(path, FormWithKey(pairs...), "Accept", "application/json"))
}

// Operation is what a program is told of one.
type Operation struct {
	ID, Kind, State, Error string
	SubjectID              string `json:"subject_id"`
	RequestID              string `json:"request_id"`
	Dependents             []struct{ Type, ID, Name string }
}

// Ended waits until an operation is over.
func (c *Client) Ended(id string, within time.Duration) Operation {
	c.t.Helper()
	var o Operation
	Eventually(c.t, within, "the end of the operation "+id, func() bool {
		o = Operation{}
		c.Read("/activity/"+id, &o)
		return slices.Contains([]models.OperationState{models.Succeeded, models.Failed, models.Cancelled}, models.OperationState(o.State))
	})
	return o
}

// Succeed asks, waits until the operation has succeeded, and returns the object's id.
func (c *Client) Succeed(within time.Duration, path string, pairs ...string) (id string) {
	c.t.Helper()
	a := c.Ask(path, pairs...)
	if o := c.Ended(a.Operation, within); o.State != string(models.Succeeded) {
		c.t.Fatalf("POST %s %v: %+v", path, pairs, o)
	}
	return a.ID
}

// VolumePath is the path of a volume, or of one of its actions.
func VolumePath(id string, action ...string) string { return pathOf(views.VolumesPath, id, action) }

// SnapshotPath is the path of a snapshot, or of one of its actions.
func SnapshotPath(id string, action ...string) string {
	return pathOf(views.SnapshotsPath, id, action)
}

func pathOf(list, id string, action []string) string {
	return strings.Join(append([]string{list, id}, action...), "/")
}
