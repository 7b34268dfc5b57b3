package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/utils"

	"blockconsole/models/backend"
)

// What gophercloud does not have is in this file: the versions without a guess when
// they cannot be read, pages that are decoded once and forgive odd objects, filters
// by metadata and by change, messages, revert, quotas by type.

// newestMinor is the newest microversion major.N that a service speaks.
func newestMinor(ctx context.Context, client *gophercloud.ServiceClient, major int) (int, error) {
	type version struct {
		ID         string `json:"id"`
		Version    string `json:"version"`
		MaxVersion string `json:"max_version"`
	}
	var document struct {
		Version  *version  `json:"version"`
		Versions []version `json:"versions"`
	}
	_, err := client.Get(ctx, root(client.Endpoint), &document, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusMultipleChoices}})
	if err != nil {
		return 0, err
	}
	if document.Version != nil {
		document.Versions = append(document.Versions, *document.Version)
	}
	minor, found := 0, false
	for _, v := range document.Versions {
		found = found || strings.HasPrefix(v.ID, "v"+strconv.Itoa(major))
		for _, text := range []string{v.Version, v.MaxVersion} {
			if of, n, err := utils.ParseMicroversion(text); err == nil && of == major {
				minor = max(minor, n)
			}
		}
	}
	if !found {
		return 0, fmt.Errorf("%s tells no version %d", root(client.Endpoint), major)
	}
	return minor, nil
}

var errNoList = errors.New("the answer is no list")

// getPage reads one page of a collection, and whether there are more.
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

// byRef is the filter for what carries a reference. ref is a UUID.
func byRef(ref string) url.Values {
	return url.Values{"metadata": {fmt.Sprintf("{'%s':'%s'}", refName, ref)}, "sort": {"created_at:asc,id:asc"}}
}

// updatedSince is the filter for volumes that changed then or later, by the cloud's
// clock; it takes 3.60.
func updatedSince(theirs time.Time) url.Values {
	return url.Values{"updated_at": {"gte:" + theirs.Format("2006-01-02T15:04:05")}}
}

// revert takes 3.40.
func revert(ctx context.Context, client *gophercloud.ServiceClient, volumeID, snapshotID string) error {
	body := map[string]any{"revert": map[string]any{"snapshot_id": snapshotID}}
	_, err := client.Post(ctx, client.ServiceURL("volumes", volumeID, "action"), body, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusAccepted}})
	return err
}

// administers says that Cinder takes us for an administrator: CodeForbidden if not.
// Who is none is given the objects of one project instead of all, without a word, and
// the others would look as if they were gone.
func administers(ctx context.Context, client *gophercloud.ServiceClient) error {
	_, err := client.Get(ctx, client.ServiceURL("os-services")+"?binary=cinder-scheduler", nil, nil)
	if p := problemOf(err); p != nil && p.status == http.StatusForbidden {
		return &backend.Error{Code: backend.CodeForbidden, Role: "admin"}
	}
	return err
}

// message is a user message of Cinder.
type message struct {
	EventID   string `json:"event_id"`
	Text      string `json:"user_message"`
	Level     string `json:"message_level"`
	RequestID string `json:"request_id"`
	CreatedAt stamp  `json:"created_at"`
}

// detail is the last part of the event's id, such as 015.
func (m message) detail() string { return m.EventID[strings.LastIndex(m.EventID, "_")+1:] }

// messages lists what Cinder has to say about an object, the newest first; it takes
// 3.5.
func messages(ctx context.Context, client *gophercloud.ServiceClient, resource, id string) ([]message, error) {
	query := url.Values{"resource_type": {resource}, "resource_uuid": {id}, "sort": {"created_at:desc,id:desc"}, "limit": {"10"}}
	list, _, err := getPage[message](ctx, client, "messages", "messages", query)
	return list, err
}

// quotaUse is one line of a quota set.
type quotaUse struct {
	InUse    int64 `json:"in_use"`
	Reserved int64 `json:"reserved"`
	Limit    int64 `json:"limit"`
}

// quotaSet is every limit of a project by name; those of types are there, too.
func quotaSet(ctx context.Context, client *gophercloud.ServiceClient, project string) (map[string]quotaUse, error) {
	var body struct {
		Set map[string]json.RawMessage `json:"quota_set"`
	}
	if _, err := client.Get(ctx, client.ServiceURL("os-quota-sets", project)+"?usage=true", &body, nil); err != nil {
		return nil, err
	}
	set := make(map[string]quotaUse, len(body.Set))
	for name, raw := range body.Set {
		var use quotaUse
		if json.Unmarshal(raw, &use) == nil { // its id is among them
			set[name] = use
		}
	}
	return set, nil
}
