package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"blockconsole/models/backend"
)

// Requests of Cinder that gophercloud lacks: pages that are decoded once and tolerate
// odd objects, filters by metadata and by time of change, revert.

var errNoList = errors.New("the answer is no list")

// getPage reads one page of a collection; more says that another follows.
func getPage[T any](ctx context.Context, client *gophercloud.ServiceClient, path, collection string, query url.Values) ([]T, bool, error) {
	var body map[string]json.RawMessage
	if _, err := client.Get(ctx, client.ServiceURL(path)+"?"+query.Encode(), &body, nil); err != nil {
		return nil, false, err
	}
	if body[collection] == nil {
		return nil, false, fmt.Errorf("%s: %w", path, errNoList)
	}
	var items []T
	if err := json.Unmarshal(body[collection], &items); err != nil {
		return nil, false, fmt.Errorf("%s: %w", path, err)
	}
	var links []gophercloud.Link
	if raw := body[collection+"_links"]; raw != nil {
		if err := json.Unmarshal(raw, &links); err != nil {
			return nil, false, fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, link := range links {
		if link.Rel == "next" {
			return items, len(items) > 0, nil
		}
	}
	return items, false, nil
}

// refFilter finds the objects with a Ref. ref must be a UUID.
func refFilter(ref string) url.Values {
	return url.Values{"metadata": {fmt.Sprintf("{'%s':'%s'}", refName, ref)}, "sort": {"created_at:asc,id:asc"}}
}

// updatedFilter finds the volumes that changed at since, by the cloud's clock, or later.
// It needs microversion 3.60.
func updatedFilter(since time.Time) url.Values {
	return url.Values{"updated_at": {"gte:" + since.Format("2006-01-02T15:04:05")}}
}

// postRevert needs microversion 3.40.
func postRevert(ctx context.Context, client *gophercloud.ServiceClient, volumeID, snapshotID string) error {
	body := map[string]any{"revert": map[string]any{"snapshot_id": snapshotID}}
	_, err := client.Post(ctx, client.ServiceURL("volumes", volumeID, "action"), body, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusAccepted}})
	return err
}

// requireAdmin answers CodeForbidden unless Cinder takes us for an administrator: others
// silently get the objects of one project, and the rest would seem deleted.
func requireAdmin(ctx context.Context, client *gophercloud.ServiceClient) error {
	_, err := client.Get(ctx, client.ServiceURL("os-services")+"?binary=cinder-scheduler", nil, nil)
	if p := asAPIError(err); p != nil && p.status == http.StatusForbidden {
		return &backend.Error{Code: backend.CodeForbidden, Role: "admin"}
	}
	return err
}
