package views

import (
	"net/url"
	"strings"
)

// The paths of the pages, which are part of the contract with clients.
const (
	storagePath   = "/storage/block-storage"
	VolumesPath   = storagePath + "/volumes"
	SnapshotsPath = storagePath + "/snapshots"
	activityPath  = "/activity"
	ServersPath   = "/admin/servers"
	usersPath     = "/admin/users"
	auditPath     = "/admin/audit"
	helpPath      = "/help"
	accountPath   = "/account"
)

func volumeURL(id string) string { return VolumesPath + "/" + url.PathEscape(id) }

func snapshotURL(id string) string { return SnapshotsPath + "/" + url.PathEscape(id) }

func serverURL(id string) string { return ServersPath + "/" + url.PathEscape(id) }

func operationURL(id string) string { return activityPath + "/" + url.PathEscape(id) }

// objectURL is the page of an object, empty for kinds without one.
func objectURL(kind, id string) string {
	switch {
	case id == "":
		return ""
	case kind == "volume":
		return volumeURL(id)
	case kind == "snapshot":
		return snapshotURL(id)
	case kind == "operation":
		return operationURL(id)
	}
	return ""
}

func listPath(kind string) string {
	if kind == "volume" {
		return VolumesPath
	}
	return SnapshotsPath
}

// withParam sets one query parameter of a local URL.
func withParam(local, key, value string) string {
	path, query, _ := strings.Cut(local, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		values = url.Values{}
	}
	values.Set(key, value)
	return path + "?" + values.Encode()
}

// param is one query parameter, for the hidden fields of a GET form.
type param struct{ name, value string }

// params are the query parameters of a local URL in their order.
func params(local string) []param {
	_, query, _ := strings.Cut(local, "?")
	var all []param
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err1 == nil && err2 == nil && n != "" {
			all = append(all, param{n, v})
		}
	}
	return all
}

func pathOf(local string) string {
	path, _, _ := strings.Cut(local, "?")
	return path
}
